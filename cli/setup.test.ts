import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { missingPackages, network, obstacle } from './setup.mjs';

it.each([
  [{ platform: 'linux', arch: 'x64', glibc: '2.28' }, undefined],
  [{ platform: 'linux', arch: 'arm64', glibc: '2.41' }, undefined],
  [{ platform: 'darwin', arch: 'arm64', glibc: undefined }, undefined],
  [{ platform: 'darwin', arch: 'x64', glibc: undefined }, /Intel Macs; .*docker compose up/],
  [{ platform: 'linux', arch: 'x64', glibc: undefined }, /musl, as Alpine does; .*docker compose up/],
  [{ platform: 'linux', arch: 'x64', glibc: '2.17' }, /glibc 2\.28 .*has 2\.17; .*docker compose up/],
  [{ platform: 'linux', arch: 'riscv64', glibc: '2.41' }, /no binaries for linux on riscv64/],
  [{ platform: 'win32', arch: 'x64', glibc: undefined }, /WSL 2/],
] as const)('says of %o what stands in the way, and what to do', (machine, expected) => {
  const said = obstacle(machine);
  if (expected === undefined) expect(said).toBeUndefined();
  else expect(said).toMatch(expected);
});

it('looks whether npm brought what the lock file names, for the purpose, in its version', () => {
  const root = mkdtempSync(join(tmpdir(), 'kubembed-setup-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const put = (name: string, version: string): void => {
    mkdirSync(join(root, 'node_modules', name), { recursive: true });
    writeFileSync(join(root, 'node_modules', name, 'package.json'), JSON.stringify({ version }));
  };
  put('there', '1.0.0');
  put('old', '1.0.0');
  const packages = {
    '': {},
    'node_modules/there': { version: '1.0.0' },
    'node_modules/old': { version: '2.0.0' },
    'node_modules/gone': { version: '1.0.0' },
    'node_modules/tool': { version: '1.0.0', dev: true },
    'node_modules/other-platform': { version: '1.0.0', optional: true },
  };
  const gone = ['node_modules/old', 'node_modules/gone'];
  expect(missingPackages({ packages }, root, false)).toEqual(gone);
  expect(missingPackages({ packages }, root, true)).toEqual([...gone, 'node_modules/tool']);
});

const SELF = 'localhost,127.0.0.1,::1';

it.each([
  [{}, {}],
  [{ SSL_CERT_FILE: '/ca.pem' }, { NODE_EXTRA_CA_CERTS: '/ca.pem' }],
  [{ NODE_EXTRA_CA_CERTS: '/own.pem', REQUESTS_CA_BUNDLE: '/ca.pem' }, { NODE_EXTRA_CA_CERTS: '/own.pem' }],
  [{ HTTPS_PROXY: 'proxy:8080' }, { HTTPS_PROXY: 'http://proxy:8080', NO_PROXY: SELF }],
  [
    { https_proxy: 'https://proxy', http_proxy: '', no_proxy: '.example.com' },
    { https_proxy: 'https://proxy', no_proxy: `.example.com,${SELF}` },
  ],
  [
    { ALL_PROXY: 'http://proxy', NO_PROXY: '*' },
    { ALL_PROXY: 'http://proxy', NO_PROXY: '*' },
  ],
])('tells the way out in words that npm, Node and the fetch of weights know: %j', (env, given) => {
  expect(network(env)).toEqual(given);
});

it.each([
  [
    { npm_config_proxy: 'http://p', npm_config_noproxy: '' },
    { HTTPS_PROXY: 'http://p', HTTP_PROXY: 'http://p', NO_PROXY: SELF },
  ],
  [
    { npm_config_https_proxy: 'http://s', npm_config_noproxy: '.example.com' },
    { HTTPS_PROXY: 'http://s', NO_PROXY: `.example.com,${SELF}` },
  ],
  [{ npm_config_proxy: 'null', npm_config_https_proxy: 'false' }, {}],
  [
    { npm_config_https_proxy: 'http://s', https_proxy: 'http://own' },
    { https_proxy: 'http://own', NO_PROXY: SELF },
  ],
  [{ npm_config_cafile: '/ca.pem' }, { NODE_EXTRA_CA_CERTS: '/ca.pem' }],
  [{ npm_config_cafile: '/ca.pem', SSL_CERT_FILE: '/own.pem' }, { NODE_EXTRA_CA_CERTS: '/own.pem' }],
  [{ npm_config_cafile: '/gone.pem' }, {}],
])('takes it from the settings of npm where no variable says it: %j', (env, given) => {
  expect(network(env, (file) => file === '/ca.pem')).toEqual(given);
});
