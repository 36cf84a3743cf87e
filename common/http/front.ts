// What is settled of a request before it is routed: where it goes, whether it is HTTP that can be served, and what a browser may do with it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { OpenAIError } from '../openai/errors.ts';
import { clip } from '../util/text.ts';

// The target

const ABSOLUTE = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i;

/** A request's target as path and query: without the origin that proxies' clients name, and each slash once. Throws `OpenAIError`. */
export function targetOf(url: string): string {
  if (url.startsWith('/') && !url.includes('//')) return url;
  const origin = ABSOLUTE.exec(url)?.[0] ?? '';
  if (origin !== '' && !URL.canParse(url)) throw new OpenAIError('invalid_request', 'The request URL is not valid.');
  const rest = url.slice(origin.length);
  const queryAt = rest.search(/[?#]/);
  const path = queryAt === -1 ? rest : rest.slice(0, queryAt);
  const query = queryAt === -1 ? '' : rest.slice(queryAt);
  return `${path === '' ? '/' : path.replaceAll(/\/{2,}/g, '/')}${query}`;
}

/** Of a target, for logs and messages: some clients put keys into the query. */
export const pathOf = (url = ''): string => url.split('?', 1)[0] ?? '';

// What Node would refuse without a word

/** Throws `OpenAIError`. */
export function requireServable({ headers, httpVersion }: IncomingMessage): void {
  if (headers.host === undefined && httpVersion === '1.1') {
    throw new OpenAIError('invalid_request', "The request has no 'Host' header, which HTTP/1.1 asks for.");
  }
  const { expect } = headers;
  if (expect !== undefined && !/100-continue/i.test(expect)) {
    throw new OpenAIError('expectation_failed', "Of the header 'Expect' only the value '100-continue' can be met.");
  }
}

// Its own name: a page of a foreign site that got its own name resolved to this address (DNS rebinding) gives that name.

/** True where the request's `Host` is a name of this server. */
export type HostCheck = (request: IncomingMessage) => boolean;

const LOOPBACK = /^(?:localhost|[\w-]+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Loopback, the address that the connection came to, and these names. */
export function ownHosts(names: readonly string[]): HostCheck {
  const own = new Set(names.map((name) => name.toLowerCase()));
  return ({ headers: { host = '' }, socket: { localAddress = '' } }) => {
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    const address = localAddress.replace(/^::ffff:/, '');
    return LOOPBACK.test(name) || own.has(name) || name === address || name === `[${address}]`;
  };
}

export const foreignHost = ({ headers: { host = '' } }: IncomingMessage): OpenAIError =>
  new OpenAIError(
    'permission_denied',
    `This server is not called '${clip(host)}'. Use its address, or name it in KUBEMBED_ALLOWED_HOSTS.`,
  );

// CORS

/** How long a browser need not ask again, in seconds; none keeps it for longer. */
const PREFLIGHT_SECONDS = 7200;
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~, -]{1,2000}$/;

/** Gives browsers leave by the request's origin. Returns true for a preflight, which is answered. */
export type Cors = (request: IncomingMessage, response: ServerResponse) => boolean;

const NO_CORS: Cors = () => false;

/** `origins`: such as `https://app.example.com`, or `*` for all; none switches it off. Keys are not cookies: no origin gets these. */
export function createCors(origins: readonly string[]): Cors {
  if (origins.length === 0) return NO_CORS;
  const isAny = origins.includes('*');
  const allowed = new Set(origins.map((origin) => origin.toLowerCase().replace(/\/$/, '')));

  return ({ headers, method }, response) => {
    const { origin } = headers;
    if (!isAny) response.setHeader('vary', 'Origin');
    if (origin === undefined || !(isAny || allowed.has(origin.toLowerCase()))) return false;
    response.setHeader('access-control-allow-origin', isAny ? '*' : origin);
    response.setHeader('access-control-expose-headers', '*');
    if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return false;
    response.setHeader('access-control-allow-methods', 'GET, HEAD, POST');
    const asked = headers['access-control-request-headers'];
    // By name: a star does not stand for Authorization.
    if (asked !== undefined && HEADER_NAMES.test(asked)) response.setHeader('access-control-allow-headers', asked);
    response.setHeader('access-control-max-age', PREFLIGHT_SECONDS);
    response.statusCode = 204;
    response.end();
    return true;
  };
}
