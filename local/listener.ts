// Whether the endpoint could listen: asked before a download of minutes, not after.
import { createServer } from 'node:net';

/** @throws what `listen` says */
export async function checkListener(host: string, port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}
