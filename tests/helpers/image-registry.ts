// A registry for one image: what a tar file with an OCI layout holds, as nodes pull it. It keeps count.
import { createReadStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import { CLUSTER_STATE } from './cluster-node.ts';

export interface ImageRegistry {
  /** As an image's reference begins: host, port and repository. */
  readonly repository: string;
  /** Blobs that were pulled, by digest, in order. */
  readonly pulled: readonly string[];
  readonly close: () => Promise<void>;
}

async function blobsIn(layout: string): Promise<ReadonlyMap<string, Buffer>> {
  const blobs = new Map<string, Buffer>();
  const entries = createReadStream(layout).pipe(extract());
  for await (const entry of entries) {
    const bytes = await buffer(entry);
    const [, digest] = /^blobs\/sha256\/(.+)$/.exec(entry.header.name) ?? [];
    if (digest !== undefined) blobs.set(`sha256:${digest}`, bytes);
  }
  return blobs;
}

/** Without TLS: containerd is told so, as for any such registry. */
export async function serveImage(host: string, layout: string): Promise<ImageRegistry> {
  const blobs = await blobsIn(layout);
  const pulled: string[] = [];
  const server = createServer((request, response) => {
    const [, kind, digest] = /\/(manifests|blobs)\/(sha256:[0-9a-f]{64})$/.exec(request.url ?? '') ?? [];
    const bytes = blobs.get(digest ?? '');
    if (bytes === undefined) {
      response.writeHead(request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    if (kind === 'blobs' && request.method === 'GET') pulled.push(digest!);
    const { mediaType } = kind === 'blobs' ? {} : (JSON.parse(String(bytes)) as { mediaType?: string });
    response.writeHead(200, {
      'content-type': mediaType ?? 'application/octet-stream',
      'content-length': bytes.length,
      'docker-content-digest': digest,
    });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = `${host}:${String((server.address() as AddressInfo).port)}`;
  const folder = join(CLUSTER_STATE, 'registries', address);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'hosts.toml'), `server = "http://${address}"\n`);
  return {
    repository: `${address}/models/packed`,
    pulled,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
