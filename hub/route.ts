// The route to the hub: straight, or by a proxy that may ask for a login; which of them an address takes, and what went wrong on the way.
import { BlockList, isIP } from 'node:net';
import { Agent, EnvHttpProxyAgent } from 'undici';
import type { Dispatcher } from 'undici';
import { explainUntrusted, readCertificates } from './certificates.ts';
import { ModelError } from './files.ts';
import type { Login, Named, NetworkSettings } from './network.ts';

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** For messages about what is no address, often for the characters of its password: all before the last @ may be that. */
export function withoutLogin(address: string): string {
  const at = address.lastIndexOf('@');
  return at === -1 ? address : `${SCHEME.exec(address)?.[0] ?? ''}…${address.slice(at)}`;
}

function withLogin(address: string, login: Login | undefined): string {
  const url = new URL(address);
  if (login === undefined || url.username !== '') return address;
  // The setters encode less than what undici decodes.
  url.username = encodeURIComponent(login.username);
  url.password = encodeURIComponent(login.password);
  return url.href;
}

/** `host:port` means http, as for curl, Go and Python. A password does not get into the message. */
export function proxyAddress({ variable, value }: Named, login?: Login): string {
  const address = value.includes('://') ? value : `http://${value}`;
  if (URL.canParse(address) && /^https?:$/.test(new URL(address).protocol)) return withLogin(address, login);
  throw new ModelError(
    'HubUnreachable',
    `${variable} is "${withoutLogin(address)}", which is no http(s) proxy; expected http://host:port, with user:password@ before the host where the proxy asks for them`,
  );
}

/** Networks such as `10.0.0.0/8` among the names. */
function networksIn(noProxy: string): BlockList {
  const list = new BlockList();
  for (const entry of noProxy.split(/[\s,]+/)) {
    const [, address = '', bits = ''] = /^\[?([^\]/]+)\]?\/(\d{1,3})$/.exec(entry) ?? [];
    const family = isIP(address);
    if (family !== 0 && Number(bits) <= (family === 4 ? 32 : 128))
      list.addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

const isWithin = (networks: BlockList, hostname: string): boolean => {
  const address = hostname.replace(/^\[|\]$/g, '');
  const family = isIP(address);
  return family !== 0 && networks.check(address, family === 4 ? 'ipv4' : 'ipv6');
};

export interface ConnectionLimits {
  readonly connectMs: number;
  readonly headersMs: number;
  readonly stallMs: number;
}

export interface Route {
  readonly dispatcherFor: (url: URL) => Dispatcher;
  readonly close: () => Promise<void>;
}

/** @throws ModelError naming the variable at fault */
export function openRoute(
  settings: Partial<NetworkSettings>,
  { connectMs, headersMs, stallMs }: ConnectionLimits,
): Route {
  const { proxies, proxyLogin, noProxy = '', certificates } = settings;
  const address = (proxy: Named | undefined): string => (proxy === undefined ? '' : proxyAddress(proxy, proxyLogin));
  const trusted = certificates === undefined ? {} : { ca: readCertificates(certificates) };
  const connect = { timeout: connectMs, ...trusted };
  const limits = { connect, headersTimeout: headersMs, bodyTimeout: stallMs };
  const direct = new Agent(limits);
  const proxied = new EnvHttpProxyAgent({
    ...limits,
    requestTls: connect,
    proxyTls: connect,
    ...(proxies === undefined ? {} : { httpProxy: address(proxies.http), httpsProxy: address(proxies.https), noProxy }),
  });
  const networks = networksIn(noProxy);
  return {
    dispatcherFor: ({ hostname }) => (isWithin(networks, hostname) ? direct : proxied),
    close: async () => {
      await Promise.all([direct.destroy(), proxied.destroy()]);
    },
  };
}

export const refusedByProxy = (origin: string): ModelError =>
  new ModelError(
    'HubUnreachable',
    `The proxy on the way to ${origin} asks for a user and a password, or refuses those given: HTTPS_PROXY=http://user:password@host:port`,
  );

/** A failure on the way that no repetition cures, in words; undefined for all others. */
export const explainRoute = (
  origin: string,
  failure: { readonly code: string; readonly words: string },
): ModelError | undefined =>
  explainUntrusted(origin, failure) ?? (/\b407\b/.test(failure.words) ? refusedByProxy(origin) : undefined);
