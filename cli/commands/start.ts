// `kubembed start`: local mode, as `npm start` runs it.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from '../command.ts';

const LOCAL = fileURLToPath(new URL('../../local/main.ts', import.meta.url));

export const startCommand: Command = {
  summary: 'Serve the listed models on this machine',
  usage: 'kubembed start [--port N] [--host ADDRESS] [--supported-models FILE] [--models DIR] [--data DIR]',
  options: {
    port: { type: 'string' },
    host: { type: 'string' },
    'supported-models': { type: 'string' },
    models: { type: 'string' },
    data: { type: 'string' },
  },
  async run(args, { signal }) {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', LOCAL, ...args], {
      // The channel tells the child when this process is gone.
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    });
    signal.addEventListener('abort', () => child.kill('SIGINT'), { once: true });
    return await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  },
};
