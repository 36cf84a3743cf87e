// What the scale was measured on.
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

export function scaleCircumstances(): string[] {
  const [first] = cpus();
  return [
    `${new Date().toISOString().slice(0, 10)}, commit ${commit()}, Node.js ${process.versions.node}`,
    `${first?.model.trim() ?? 'unknown processor'}, ${cpus().length} cores shared with etcd, kube-apiserver and what stands in for kubelets, ` +
      `${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
  ];
}
