// The way to the hub as it is set: proxies, certificates, logins and the token, from the environment, as the Hugging Face tools and Python's
// clients read them.
import path from 'node:path';
import type { Environment } from '../common/util/env.ts';

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
