// What stands between a company and the hub: a server with a certificate of a private authority, and a proxy that asks for a password.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const FIXTURES = fileURLToPath(new URL('../fixtures/tls/', import.meta.url));
const read = (name: string): Buffer => readFileSync(FIXTURES + name);

/** The authority's certificate, as a company hands it out. */
export const AUTHORITY = `${FIXTURES}ca.pem`;

export interface Stand {
  /** Without a scheme: `127.0.0.1:1234`. */
  readonly address: string;
  /** What passed: `CONNECT host:port` or `GET http://…`. */
  readonly seen: string[];
  readonly close: () => void;
}

async function listening(server: Server, seen: string[]): Promise<Stand> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen, close };
}

function passOn(to: URL, { method, headers }: IncomingMessage, response: ServerResponse): void {
  request(to, { method: method ?? 'GET', headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  })
    .on('error', () => response.destroy())
    .end();
}

/** `https://` in front of a plain server. */
export async function startTls(origin: string): Promise<Stand> {
  const key = createPrivateKey({ key: read('server-key.der'), format: 'der', type: 'pkcs8' });
  const options = { key: key.export({ format: 'pem', type: 'pkcs8' }), cert: read('server.pem') };
  const seen: string[] = [];
  const server = createSecureServer(options, (incoming, response) => {
    seen.push(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
    passOn(new URL(incoming.url ?? '/', origin), incoming, response);
  });
  return await listening(server, seen);
}

/** A forward proxy for http and https that knows one user. */
export async function startProxy(user: string, password: string): Promise<Stand> {
  const expected = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const seen: string[] = [];
  const server = createServer((incoming, response) => {
    if (incoming.headers['proxy-authorization'] !== expected) {
      response.writeHead(407, { 'proxy-authenticate': 'Basic realm="proxy"' }).end();
      return;
    }
    seen.push(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
    passOn(new URL(incoming.url ?? ''), incoming, response);
  });
  server.on('connect', (incoming: IncomingMessage, socket: Socket) => {
    if (incoming.headers['proxy-authorization'] !== expected) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\n\r\n');
      return;
    }
    seen.push(`CONNECT ${incoming.url ?? ''}`);
    const [host = '', port = ''] = (incoming.url ?? '').split(':');
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  return await listening(server, seen);
}
