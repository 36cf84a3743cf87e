// Where connections come from: a pod's service account, with its token replaced while we run, and kubeconfig files.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { loadConnection } from './config.ts';

let dir = '';
beforeAll(async () => (dir = await mkdtemp(join(tmpdir(), 'kubembed-'))));
afterAll(async () => await rm(dir, { recursive: true }));

it('reads the service account, and its token again after a minute', async () => {
  const clock = new FakeClock();
  const files = { token: 'one\n', 'ca.crt': 'CA', namespace: 'ns' };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
  const connection = await loadConnection({ env, clock, serviceAccountDir: dir });
  expect(connection).toMatchObject({ server: 'https://[fd00::1]:6443', tls: { ca: 'CA' }, namespace: 'ns' });
  await writeFile(join(dir, 'token'), 'two');
  expect(await connection.headers()).toEqual({ authorization: 'Bearer one' });
  clock.tick(60_000);
  expect(await connection.headers()).toEqual({ authorization: 'Bearer two' });
  await rm(join(dir, 'token'));
  clock.tick(60_000);
  expect(await connection.headers()).toEqual({ authorization: 'Bearer two' });
});

const kubeconfig = (user: object): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u', namespace: 'mine' } }],
    clusters: [
      {
        name: 'k',
        cluster: { server: 'https://host:1', 'certificate-authority-data': Buffer.from('CA').toString('base64') },
      },
    ],
    users: [{ name: 'u', user }],
  });

it.each([
  ['a token', { token: 't' }, { authorization: 'Bearer t' }, { ca: 'CA' }],
  ['a password', { username: 'n', password: 'p' }, { authorization: 'Basic bjpw' }, { ca: 'CA' }],
  [
    'a certificate',
    {
      'client-certificate-data': Buffer.from('CERT').toString('base64'),
      'client-key-data': Buffer.from('KEY').toString('base64'),
    },
    {},
    { ca: 'CA', cert: 'CERT', key: 'KEY' },
  ],
  [
    'a command',
    {
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: process.execPath,
        interactiveMode: 'Never',
        args: [
          '-e',
          'console.log(JSON.stringify({apiVersion:"client.authentication.k8s.io/v1",kind:"ExecCredential",status:{token:"made"}}))',
        ],
      },
    },
    { authorization: 'Bearer made' },
    { ca: 'CA' },
  ],
])('reads a kubeconfig with %s', async (_, user, headers, tls) => {
  const file = join(dir, 'config');
  await writeFile(file, kubeconfig(user));
  const connection = await loadConnection({ env: { KUBECONFIG: file }, clock: new FakeClock() });
  expect(connection).toMatchObject({ server: 'https://host:1', namespace: 'mine' });
  expect(connection.tls).toEqual(tls);
  expect(await connection.headers()).toEqual(headers);
});
