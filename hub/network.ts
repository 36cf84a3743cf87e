// The way to the hub: proxies, the certificates that are trusted, and the token, as the Hugging Face tools and Python's clients read them from the environment.
import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import path from 'node:path';
import { getCACertificates } from 'node:tls';
import { Agent, EnvHttpProxyAgent } from 'undici';
import type { Dispatcher } from 'undici';
import type { Environment } from '../common/util/env.ts';
import { ModelError } from './files.ts';

/** A value, and where it comes from: what is wrong with it is said by that name. */
export interface Named {
  readonly variable: string;
  readonly value: string;
}

/** A user and a password. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

export interface NetworkSettings {
  /** Proxy for `http:` and for `https:` addresses. */
  readonly proxies: { readonly http: Named | undefined; readonly https: Named | undefined };
  /** For proxies whose address has none; from a Secret, where an address is no place for a password. */
  readonly proxyLogin: Login | undefined;
  /** `NO_PROXY`: hosts, domains, addresses and networks that are asked without a proxy. */
  readonly noProxy: string;
  /** A file of certificates that are trusted beside the usual ones. */
  readonly certificates: Named | undefined;
  /** Where `hf auth login` puts the token; read when no variable has one. */
  readonly tokenFile: string | undefined;
}

const CERTIFICATES = ['SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'];
const TOKENS = ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'];

/** The first that is set; empty counts as unset. */
function firstOf(env: Environment, names: readonly string[]): Named | undefined {
  for (const variable of names) {
    const value = env[variable]?.trim();
    if (value !== undefined && value !== '') return { variable, value };
  }
  return undefined;
}

const loginIn = (env: Environment, prefix: string): Login | undefined => {
  const [username, password] = ['USERNAME', 'PASSWORD'].map((part) => firstOf(env, [`${prefix}_${part}`])?.value);
  return username === undefined ? undefined : { username, password: password ?? '' };
};

/** For a mirror that asks for user and password; a token goes before it. */
export const hubLoginIn = (env: Environment): Login | undefined => loginIn(env, 'KUBEMBED_HUB');

export function networkFrom(env: Environment, hfHome: string): NetworkSettings {
  const any = ['all_proxy', 'ALL_PROXY'];
  return {
    proxies: {
      http: firstOf(env, ['http_proxy', 'HTTP_PROXY', ...any]),
      https: firstOf(env, ['https_proxy', 'HTTPS_PROXY', ...any]),
    },
    proxyLogin: loginIn(env, 'KUBEMBED_PROXY'),
    noProxy: firstOf(env, ['no_proxy', 'NO_PROXY'])?.value ?? '',
    // NODE_EXTRA_CA_CERTS needs no word here: Node itself adds it.
    certificates: firstOf(env, CERTIFICATES),
    tokenFile: firstOf(env, ['HF_TOKEN_PATH'])?.value ?? path.join(hfHome, 'token'),
  };
}

/** Which variable has the token. */
export const tokenIn = (env: Environment): Named | undefined => firstOf(env, TOKENS);

// The token.

/** White space around it and line breaks in it go, as huggingface_hub does; what cannot be sent is named. */
export function cleanToken({ variable, value }: Named): string | undefined {
  const token = value.replace(/[\r\n]/g, '').trim();
  if (token === '') return undefined;
  if (/^["'].*["']$/.test(token))
    throw new ModelError('GatedRepository', `${variable} has quotation marks around the token: take them away`);
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new ModelError(
    'GatedRepository',
    `${variable} holds no token: there are blanks or characters beyond ASCII in it. A token is one word, such as hf_…`,
  );
}

/** Undefined where there is none. */
export function readToken(given: Named | undefined, tokenFile: string | undefined): string | undefined {
  if (given !== undefined) return cleanToken(given);
  if (tokenFile === undefined) return undefined;
  let value: string;
  try {
    value = readFileSync(tokenFile, 'utf8');
  } catch {
    // Most have none.
    return undefined;
  }
  return cleanToken({ variable: tokenFile, value });
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** For messages about what is no address, often for the characters of its password: all before the last @ may be that. */
export function withoutLogin(address: string): string {
  const at = address.lastIndexOf('@');
  return at === -1 ? address : `${SCHEME.exec(address)?.[0] ?? ''}…${address.slice(at)}`;
}

// Proxies.

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
export function networksIn(noProxy: string): BlockList {
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

// Certificates.

function readCertificates({ variable, value }: Named): string[] {
  let text: string;
  try {
    text = readFileSync(value, 'utf8');
  } catch (error) {
    throw new ModelError(
      'HubUnreachable',
      `${variable} names ${value}, which cannot be read (${(error as NodeJS.ErrnoException).code ?? ''})`,
      { cause: error },
    );
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----'))
    throw new ModelError('HubUnreachable', `${variable} names ${value}, which holds no certificate in PEM form`);
  // Beside Node's own, to which NODE_EXTRA_CA_CERTS belongs.
  return [...getCACertificates('default'), text];
}

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

const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

export const refusedByProxy = (origin: string): ModelError =>
  new ModelError(
    'HubUnreachable',
    `The proxy on the way to ${origin} asks for a user and a password, or refuses those given: HTTPS_PROXY=http://user:password@host:port`,
  );

/** A failure on the way that no repetition cures, in words; undefined for all others. */
export function explainRoute(
  origin: string,
  { code, words }: { readonly code: string; readonly words: string },
): ModelError | undefined {
  if (UNTRUSTED.has(code))
    return new ModelError(
      'HubUnreachable',
      `${origin}: its certificate is not trusted (${words}). Where a proxy or mirror has a certificate of your own authority, name that authority's file in SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS`,
    );
  return /\b407\b/.test(words) ? refusedByProxy(origin) : undefined;
}
