// The certificates of a test control plane, made by openssl in a folder of their own.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface Pki {
  readonly dir: string;
  /** PEM of the authority that signs servers and clients alike. */
  readonly ca: string;
  file(name: string): string;
  /** A client (CN is the user, O the group), or a server if it has names. */
  issue(
    name: string,
    subject: { readonly user: string; readonly group?: string; readonly names?: string },
  ): Promise<KeyPair>;
}

export async function createPki(dir: string): Promise<Pki> {
  const file = (name: string): string => join(dir, name);
  const openssl = async (...args: string[]): Promise<unknown> => await run('openssl', args, { cwd: dir });
  const ecKey = async (name: string): Promise<unknown> =>
    await openssl('ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', `${name}.key`);

  await ecKey('ca');
  const authority = [
    '-subj',
    '/CN=kubembed-test-ca',
    '-days',
    '2',
    '-addext',
    'keyUsage=critical,digitalSignature,keyCertSign',
  ];
  await openssl('req', '-x509', '-new', '-key', 'ca.key', '-out', 'ca.crt', ...authority);
  await openssl('genrsa', '-out', 'sa.key', '2048');
  await openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');

  return {
    dir,
    ca: await readFile(file('ca.crt'), 'utf8'),
    file,
    async issue(name, { user, group, names }) {
      await ecKey(name);
      const subject = `${group === undefined ? '' : `/O=${group}`}/CN=${user}`;
      await openssl('req', '-new', '-key', `${name}.key`, '-subj', subject, '-out', `${name}.csr`);
      const extensions = [
        'basicConstraints=critical,CA:FALSE',
        'keyUsage=critical,digitalSignature',
        'extendedKeyUsage=clientAuth,serverAuth',
        ...(names === undefined ? [] : [`subjectAltName=${names}`]),
      ];
      await writeFile(file(`${name}.ext`), `${extensions.join('\n')}\n`);
      // Not -CAcreateserial: certificates are issued at the same time, and would read a half-written serial file.
      const serial = `0x${randomBytes(8).toString('hex')}`;
      const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-set_serial', serial, '-days', '2', '-extfile', `${name}.ext`];
      await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...by);
      const [cert, key] = await Promise.all([
        readFile(file(`${name}.crt`), 'utf8'),
        readFile(file(`${name}.key`), 'utf8'),
      ]);
      return { cert, key };
    },
  };
}

/** Everything inline, so that the file can be handed on alone; JSON is YAML. */
export function kubeconfig(server: string, ca: string, user: string, { cert, key }: KeyPair): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user, namespace: 'default' } }],
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [{ name: user, user: { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) } }],
  });
}
