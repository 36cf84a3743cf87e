// `npm run bench -- <what>`: finds the bench that was asked for.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { USAGE } from './runtime/options.ts';
import { benchRuntime, setUp } from './runtime/main.ts';

const script = (name: string) => (args: readonly string[]) => {
  const file = fileURLToPath(new URL(name, import.meta.url));
  process.exitCode = spawnSync(process.execPath, [file, ...args], { stdio: 'inherit' }).status ?? 1;
};

const BENCHES: Readonly<Record<string, (args: readonly string[]) => void | Promise<void>>> = {
  runtime: benchRuntime,
  limit: (args) => benchRuntime(['--peers', 'limit', '--cells', 'A:1,B:1,C:1', ...args]),
  gpu: script('./gpu.ts'),
  router: script('./router.ts'),
  scale: script('./scale.ts'),
  setup: setUp,
};

const [what = '', ...args] = process.argv.slice(2);
const bench = BENCHES[what];
if (bench === undefined) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(BENCHES).join(' | ')} [options]\n\n${USAGE}\n`);
  process.exitCode = 2;
} else {
  try {
    await bench(args);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
