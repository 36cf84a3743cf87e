// The one way out of a company: a proxy that asks for a password, opens TLS with an authority of its own, and counts what passes. It listens
// on a Unix socket, so that a network namespace without any route can be given it and nothing else.
import { createServer, Agent as PlainAgent, request as requestPlain } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createSecureServer, Agent, request as requestSecure } from 'node:https';
import type { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { gzipSync } from 'node:zlib';
import type { SecureContext } from 'node:tls';
import { createPki } from './control-plane-pki.ts';

export const LOGIN = { username: 'jo', password: 'p@ss/word' };

export interface CompanyProxy {
  /** PEM of the authority, as a company hands it out. */
  readonly authority: string;
  /** Bytes of answers, by the host that was asked; JSON as registries send it, compressed, also where something on this machine's way unpacked it. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Those who came without the password, and what they wanted. */
  readonly refused: readonly string[];
  readonly close: () => void;
}

export interface CompanyProxyOptions {
  /** Where its files go. */
  readonly folder: string;
  readonly socket: string;
  /** Hosts that stand for a server of the test: its origin. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** Hosts that people get a page about. */
  readonly blocked?: readonly string[];
}

const BLOCKED = '<!doctype html><title>Blocked</title><p>This site is blocked by the policy of your company.</p>';

export async function startCompanyProxy(options: CompanyProxyOptions): Promise<CompanyProxy> {
  const { folder, socket: path, hosts = {}, blocked = [] } = options;
  const expected = `Basic ${Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString('base64')}`;
  const bytes = new Map<string, number>();
  const refused: string[] = [];
  const sockets = new Set<Socket>();
  const pki = await createPki(folder);

  const count = (host: string, length: number): void => void bytes.set(host, (bytes.get(host) ?? 0) + length);

  const contexts = new Map<string, Promise<SecureContext>>();
  const contextOf = async (host: string): Promise<SecureContext> => {
    const context =
      contexts.get(host) ??
      pki.issue(host, { user: host.slice(0, 64), names: `DNS:${host}` }).then((pair) => createSecureContext(pair));
    contexts.set(host, context);
    return await context;
  };

  // This machine may have a proxy of its own.
  const agents = { 'http:': new PlainAgent({ proxyEnv: process.env }), 'https:': new Agent({ proxyEnv: process.env }) };
  const passOn = (wanted: URL, incoming: IncomingMessage, response: ServerResponse): void => {
    const { hostname } = wanted;
    if (blocked.includes(hostname)) {
      response.writeHead(403, { 'content-type': 'text/html' }).end(BLOCKED);
      return;
    }
    const standIn = hosts[hostname];
    const to = standIn === undefined ? wanted : new URL(wanted.pathname + wanted.search, standIn);
    const send = to.protocol === 'https:' ? requestSecure : requestPlain;
    const own = Object.entries(incoming.headers).filter(([name]) => !name.startsWith('proxy-'));
    const headers = Object.fromEntries(own);
    const agent = agents[to.protocol as keyof typeof agents];
    const outgoing = send(to, { method: incoming.method ?? 'GET', headers, agent }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      const { 'content-type': type = '', 'content-encoding': encoding } = answer.headers;
      const isUnpacked = type.includes('json') && encoding === undefined;
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => (isUnpacked ? void chunks.push(chunk) : count(hostname, chunk.length)));
      answer.on('end', () => isUnpacked && count(hostname, gzipSync(Buffer.concat(chunks)).length));
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  };

  /** What is inside the tunnels. */
  const inner = createSecureServer(
    { SNICallback: (host, done) => void contextOf(host).then((context) => done(null, context), done) },
    (incoming, response) =>
      passOn(new URL(incoming.url ?? '/', `https://${incoming.headers.host}`), incoming, response),
  );
  const server = createServer((incoming, response) => {
    if (incoming.headers['proxy-authorization'] === expected) {
      passOn(new URL(incoming.url ?? ''), incoming, response);
      return;
    }
    refused.push(`${incoming.method} ${incoming.url}`);
    response.writeHead(407, { 'proxy-authenticate': 'Basic realm="company"' }).end();
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    if (incoming.headers['proxy-authorization'] !== expected) {
      refused.push(`CONNECT ${incoming.url}`);
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="company"\r\n\r\n');
      return;
    }
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) socket.unshift(head);
    inner.emit('connection', socket);
  });
  server.listen(path);
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    authority: pki.ca,
    bytes,
    refused,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}
