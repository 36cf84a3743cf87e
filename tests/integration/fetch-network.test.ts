// Fetching from where companies live: a hub with a certificate of a private authority, behind a proxy that asks for a password.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fetchSnapshot } from '../../hub/fetch.ts';
import { readModelSettings } from '../../hub/paths.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { AUTHORITY, startProxy, startTls } from '../helpers/tls-proxy.ts';
import type { Stand } from '../helpers/tls-proxy.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const MODEL = 'acme/tiny';
const GATED = 'acme/gated';
const TOKEN = 'hf_secret';
const RUNTIME = fileURLToPath(new URL('../../runtime/main.ts', import.meta.url));

let hub: HubServer;
let secure: Stand;
let proxy: Stand;
let home: string;

beforeAll(async () => {
  hub = await startHubServer({ noCdn: true, token: TOKEN });
  const files = await tinyModel();
  for (const id of [MODEL, GATED]) hub.commit(id, files);
  hub.gate(GATED);
  secure = await startTls(hub.endpoint);
  proxy = await startProxy('user', 'pass@word');
});
afterAll(async () => {
  secure.close();
  proxy.close();
  await hub.close();
});
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'kubembed-home-'));
  proxy.seen.length = 0;
  secure.seen.length = 0;
});
afterEach(async () => await rm(home, { recursive: true, force: true }));

const https = (): string => `https://${secure.address}`;
/** As a person writes it: without a scheme, the password escaped. */
const withPassword = (): string => `user:pass%40word@${proxy.address}`;

const fetchWith = async (env: Readonly<Record<string, string>>, modelId = MODEL): Promise<string> => {
  const { store, hub: settings } = readModelSettings(env, home);
  const timeouts = { connectMs: 2000, headersMs: 2000, stallMs: 2000, maxBackoffMs: 20, attempts: 3 };
  return (await fetchSnapshot({ ...settings, store, modelId, timeouts })).revision;
};

describe('a certificate of a private authority', () => {
  it('is not trusted by itself, which is said at once', async () => {
    await expect(fetchWith({ HF_ENDPOINT: https() })).rejects.toThrow(
      /its certificate is not trusted .*SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS/,
    );
    expect(secure.seen).toEqual([]);
  });

  it.each(['SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'])('is trusted by %s', async (variable) => {
    expect(await fetchWith({ HF_ENDPOINT: https(), [variable]: AUTHORITY })).toMatch(/^[0-9a-f]{40}$/);
  });

  it('is trusted by NODE_EXTRA_CA_CERTS', async () => {
    const { PATH = '' } = process.env;
    const said = join(home, 'said.json');
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', RUNTIME, 'fetch'], {
      env: {
        PATH,
        HOME: home,
        KUBEMBED_MODEL: MODEL,
        KUBEMBED_TERMINATION_LOG: said,
        HF_ENDPOINT: https(),
        NODE_EXTRA_CA_CERTS: AUTHORITY,
      },
      stdio: 'ignore',
    });
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(JSON.parse(await readFile(said, 'utf8'))).toMatchObject({ architecture: 'BertModel' });
  });

  it('in a file that is not there, or is none, is named', async () => {
    await expect(fetchWith({ HF_ENDPOINT: https(), SSL_CERT_FILE: '/nowhere.pem' })).rejects.toThrow(
      'SSL_CERT_FILE names /nowhere.pem, which cannot be read (ENOENT)',
    );
    const file = join(home, 'no.pem');
    await writeFile(file, 'hello');
    await expect(fetchWith({ HF_ENDPOINT: https(), REQUESTS_CA_BUNDLE: file })).rejects.toThrow(
      'which holds no certificate',
    );
  });
});

describe('a proxy', () => {
  const trusted = (): Record<string, string> => ({ HF_ENDPOINT: https(), SSL_CERT_FILE: AUTHORITY });

  it.each(['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY'])(
    'with a password in %s, without a scheme, is used',
    async (name) => {
      await fetchWith({ ...trusted(), [name]: withPassword() });
      expect(proxy.seen[0]).toBe(`CONNECT ${secure.address}`);
    },
  );

  it('is used for plain http too', async () => {
    await fetchWith({ HF_ENDPOINT: hub.endpoint, HTTP_PROXY: `http://${withPassword()}` });
    expect(proxy.seen.length).toBeGreaterThan(0);
  });

  it.each([
    ['https', () => trusted()],
    ['http', () => ({ HF_ENDPOINT: hub.endpoint })],
  ])('that refuses the password is named as the one that does, %s', async (_, env) => {
    const wrong = `user:wrong@${proxy.address}`;
    const error: unknown = await fetchWith({ ...env(), HTTPS_PROXY: wrong, HTTP_PROXY: wrong }).catch(
      (one: unknown) => one,
    );
    expect(String(error)).toMatch(/The proxy on the way to .* asks for a user and a password/);
    expect(String(error)).not.toContain('wrong');
  });

  it('of a kind that cannot be used is named, without its password', async () => {
    const error: unknown = await fetchWith({ ...trusted(), HTTPS_PROXY: 'socks5h://me:secret@proxy:1080' }).catch(
      (one: unknown) => one,
    );
    expect(String(error)).toMatch(/HTTPS_PROXY is "socks5h:\/\/…@proxy:1080", which is no http\(s\) proxy/);
  });

  it.each(['127.0.0.0/8', 'example.com, 127.0.0.1', '::1/128,127.0.0.1/32'])(
    'is left out by NO_PROXY=%s',
    async (noProxy) => {
      await fetchWith({ ...trusted(), HTTPS_PROXY: withPassword(), NO_PROXY: noProxy });
      expect(proxy.seen).toEqual([]);
    },
  );

  it('is not left out for other networks', async () => {
    await fetchWith({ ...trusted(), HTTPS_PROXY: withPassword(), NO_PROXY: '10.0.0.0/8,fd00::/8' });
    expect(proxy.seen.length).toBeGreaterThan(0);
  });
});

describe('a token', () => {
  const plain = (): Record<string, string> => ({ HF_ENDPOINT: hub.endpoint });

  it.each([
    ['with a line break', { HF_TOKEN: `${TOKEN}\n` }],
    ['with blanks around it', { HF_TOKEN: `  ${TOKEN} ` }],
    ['in the old variable', { HUGGING_FACE_HUB_TOKEN: TOKEN }],
  ])('%s is used', async (_, env) => {
    expect(await fetchWith({ ...plain(), ...env }, GATED)).toMatch(/^[0-9a-f]{40}$/);
  });

  it('that `hf auth login` left is used, wherever the home of Hugging Face is', async () => {
    const folder = join(home, '.cache', 'huggingface');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'token'), `${TOKEN}\n`);
    expect(await fetchWith(plain(), GATED)).toMatch(/^[0-9a-f]{40}$/);
    await writeFile(join(home, 'elsewhere'), TOKEN);
    const store = join(home, 'another');
    const env = { ...plain(), HF_HOME: store, HF_TOKEN_PATH: join(home, 'elsewhere') };
    expect(await fetchWith(env, GATED)).toMatch(/^[0-9a-f]{40}$/);
    await expect(fetchWith({ ...plain(), HF_HOME: join(home, 'third') }, GATED)).rejects.toThrow('no token was given');
  });

  it.each(['two words', '"hf_quoted"', 'hf_ünicode'])('%j is named as none, and not the network', async (token) => {
    const error: unknown = await fetchWith({ ...plain(), HF_TOKEN: token }, GATED).catch((one: unknown) => one);
    expect(error).toMatchObject({ reason: 'GatedRepository' });
    expect(String(error)).toMatch(/HF_TOKEN/);
    expect(String(error)).not.toContain(token);
  });
});

it('TRANSFORMERS_OFFLINE keeps it off the network', async () => {
  hub.requests.length = 0;
  await expect(fetchWith({ HF_ENDPOINT: hub.endpoint, TRANSFORMERS_OFFLINE: '1' })).rejects.toThrow(
    'forbids to fetch it',
  );
  expect(hub.requests).toEqual([]);
});

describe('a user and a password of their own variables, as a Secret has them', () => {
  it('go to the proxy, whatever characters are in them', async () => {
    const login = { KUBEMBED_PROXY_USERNAME: 'user', KUBEMBED_PROXY_PASSWORD: 'pass@word' };
    await fetchWith({
      HF_ENDPOINT: https(),
      SSL_CERT_FILE: AUTHORITY,
      HTTPS_PROXY: `http://${proxy.address}`,
      ...login,
    });
    expect(proxy.seen[0]).toBe(`CONNECT ${secure.address}`);
  });

  const basic = (login: string): string => `Basic ${Buffer.from(login).toString('base64')}`;
  const sent = (): readonly (string | undefined)[] => hub.requests.map(({ authorization }) => authorization);

  it('go to a mirror', async () => {
    const login = { KUBEMBED_HUB_USERNAME: 'me', KUBEMBED_HUB_PASSWORD: 'a:b/ü%' };
    hub.requests.length = 0;
    await fetchWith({ HF_ENDPOINT: hub.endpoint, ...login });
    expect(new Set(sent())).toEqual(new Set([basic('me:a:b/ü%')]));
  });

  it('go to a mirror in whose address they stand', async () => {
    hub.requests.length = 0;
    await fetchWith({ HF_ENDPOINT: hub.endpoint.replace('//', '//me:p%40ss@') });
    expect(new Set(sent())).toEqual(new Set([basic('me:p@ss')]));
  });

  it('go after a token, and no message has them', async () => {
    hub.requests.length = 0;
    const login = { KUBEMBED_HUB_USERNAME: 'me', KUBEMBED_HUB_PASSWORD: 'hidden' };
    await fetchWith({ HF_ENDPOINT: hub.endpoint, HF_TOKEN: TOKEN, ...login }, GATED);
    expect(new Set(sent())).toEqual(new Set([`Bearer ${TOKEN}`]));
    const store = join(home, 'another');
    const refused: unknown = await fetchWith(
      { HF_ENDPOINT: hub.endpoint.replace('//', '//me:hidden@'), HF_HOME: store },
      GATED,
    ).catch((one: unknown) => one);
    expect(String(refused)).toMatch(/user and password that were given have no access/);
    expect(String(refused)).not.toContain('hidden');
  });
});
