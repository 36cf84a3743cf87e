// Whose pages may ask: the names that a server goes by, and the origins that browsers may call it from.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { OpenAIError } from '../openai/errors.ts';
import { clip } from '../util/text.ts';

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

/** `origins`: such as `https://app.example.com`, or `*` for all. Keys are not cookies: no origin gets these. */
export function createCors(origins: readonly string[]): Cors {
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
