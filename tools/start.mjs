// `npm start`: installs what is missing, then runs local mode, which ends with whoever started it.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setInterval } from 'node:timers';
import { fileURLToPath } from 'node:url';
import { ensureInstalled, environment } from '../cli/setup.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PARENT_CHECK_MS = 500;

let node;
try {
  node = await ensureInstalled();
} catch (error) {
  console.error(`kubembed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
const child = spawn(
  node,
  ['--disable-warning=ExperimentalWarning', join(ROOT, 'local', 'main.ts'), ...process.argv.slice(2)],
  // The IPC channel tells the child when this process is gone, however it went.
  { env: environment(), stdio: ['inherit', 'inherit', 'inherit', 'ipc'] },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
// npm that is killed cannot pass anything on.
const parent = process.ppid;
if (process.env.npm_lifecycle_event === 'start')
  setInterval(() => process.ppid === parent || child.kill('SIGTERM'), PARENT_CHECK_MS).unref();
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
