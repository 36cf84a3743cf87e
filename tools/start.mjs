// `npm start`: installs what is missing, then runs local mode on the Node version that the lock file brings.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureInstalled } from '../cli/setup.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

ensureInstalled();
const child = spawn(
  join(ROOT, 'node_modules', '.bin', 'node'),
  ['--disable-warning=ExperimentalWarning', join(ROOT, 'local', 'main.ts'), ...process.argv.slice(2)],
  // The IPC channel tells the child when this process is gone, however it went.
  { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
});
