// `npm run check:security`: what is known about the dependencies, the lock file, the repository and the built images.
// A check that could not be made says why and does not count as passed: with --complete it fails.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { advisoriesIn, lockFaults } from './dependencies.ts';
import type { LockFile } from './dependencies.ts';
import { findingsIn, imageBom, openImage } from './image.ts';
import { secretsIn } from './secrets.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
const IMAGES = join(ROOT, '.kubembed', 'images');
const REPORTS = join(ROOT, 'reports', 'sbom');
const MAX_SHOWN = 20;

type Outcome = { readonly findings: readonly string[]; readonly note?: string } | { readonly notRun: string };

const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as LockFile;

function audit(): Outcome {
  const { stdout, stderr } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { cwd: ROOT, encoding: 'utf8' });
  return advisoriesIn(stdout, stderr);
}

function repository(): Outcome {
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split('\0');
  const kept = files.filter((file) => file !== '' && existsSync(join(ROOT, file)));
  return {
    findings: kept.flatMap((file) =>
      secretsIn(readFileSync(join(ROOT, file), 'utf8')).map((kind) => `${file} holds a ${kind}`),
    ),
  };
}

function image(name: string): Outcome {
  const archive = join(IMAGES, `${name}.tar`);
  if (!existsSync(archive)) return { notRun: `not built: npm run images:build ${name}` };
  const folder = mkdtempSync(join(tmpdir(), 'kubembed-image-'));
  try {
    const opened = openImage(archive, folder);
    const development = new Set(
      Object.entries(lock.packages).flatMap(([path, { dev }]) => (dev === true ? [path] : [])),
    );
    const bom = imageBom(opened);
    mkdirSync(REPORTS, { recursive: true });
    writeFileSync(join(REPORTS, `${name}.cdx.json`), `${JSON.stringify(bom, undefined, 2)}\n`);
    const note = `${bom.components.length} components in reports/sbom/${name}.cdx.json`;
    return { findings: findingsIn(opened, development), note };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const CHECKS: Readonly<Record<string, () => Outcome>> = {
  'known vulnerabilities (npm audit)': audit,
  'lock file': () => ({ findings: lockFaults(lock) }),
  'secrets in the repository': repository,
  'image operator': () => image('operator'),
  'image runtime': () => image('runtime'),
  'image runtime-gpu': () => image('runtime-gpu'),
};

const complete = process.argv.includes('--complete');
let failed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  const outcome = check();
  if ('notRun' in outcome) {
    if (complete) failed += 1;
    console.log(`${complete ? 'FAIL' : 'SKIP'} ${name}: not run, ${outcome.notRun}`);
    continue;
  }
  const { findings, note } = outcome;
  if (findings.length > 0) failed += 1;
  console.log(`${findings.length === 0 ? 'ok  ' : 'FAIL'} ${name}${note === undefined ? '' : `: ${note}`}`);
  for (const finding of findings.slice(0, MAX_SHOWN)) console.log(`     ${finding}`);
  if (findings.length > MAX_SHOWN) console.log(`     and ${findings.length - MAX_SHOWN} more`);
}
process.exitCode = failed === 0 ? 0 : 1;
