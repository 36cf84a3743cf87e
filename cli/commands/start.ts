// `kubembed start`: local mode, as `npm start` runs it.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from '../command.ts';

const LOCAL = fileURLToPath(new URL('../../local/main.ts', import.meta.url));

export const startCommand: Command = {
  summary: 'Serve the listed models on this machine',
  usage: `kubembed start [--port N] [--host ADDRESS] [--supported-models FILE] [--models DIR] [--data DIR]

Local mode, as "npm start" runs it: operator, router and runtimes as processes of this machine, until Ctrl-C.

  --port              port of the endpoint: 11445 unless EMBEDDINGS_PORT or KUBEMBED_PORT says otherwise
  --host              address that it listens on: 127.0.0.1
  --supported-models  the models that may load: supported_models.txt
  --models            folder of EmbeddingModel YAML files: models
  --data              folder for state and logs: .kubembed`,
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
