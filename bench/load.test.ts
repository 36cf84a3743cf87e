import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { connect } from './load.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});

/** Answers each request with these pieces, one after the other. */
async function serve(...pieces: readonly string[]): Promise<{ readonly port: number; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((socket: Socket) => {
    socket.setNoDelay(true).on('data', (bytes) => {
      asked.push(bytes.toString());
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        if (pieces.length === 0) socket.destroy();
      })();
    });
    cleanups.push(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, asked };
}

function open(port: number) {
  const connection = connect(port);
  cleanups.push(() => connection.close());
  return connection;
}

it('asks again and again over one connection, however the answers are cut', async () => {
  const { port, asked } = await serve('HTTP/1.1 200 OK\r\nContent-', 'Length: 4\r\n\r\nab', 'c', 'd');
  const connection = open(port);
  await connection.ask({ path: '/v1/embeddings', body: Buffer.from('{"input":"é"}') });
  await connection.ask({ path: '/healthz' });
  expect(asked.join('')).toMatch(
    /^POST \/v1\/embeddings HTTP\/1\.1\r\n.*content-length: 14\r\n\r\n\{"input":"é"\}GET \/healthz HTTP\/1\.1\r\n/s,
  );
});

it('fails with what an error says', async () => {
  const { port } = await serve('HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy');
  await expect(open(port).ask({ path: '/' })).rejects.toThrow('503: busy');
});

it('fails when the connection is closed instead', async () => {
  const { port } = await serve();
  await expect(open(port).ask({ path: '/' })).rejects.toThrow('closed');
});
