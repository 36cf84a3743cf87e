import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { installWithPip } from './wheel.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-pip-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** The first pip that is looked for; what it is called with stands in `calls`. */
async function pip(script: string): Promise<() => Promise<string[]>> {
  const program = join(folder, 'python3');
  await writeFile(program, `#!/bin/sh\necho "$*" >>${join(folder, 'calls')}\n${script}\n`);
  await chmod(program, 0o755);
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env['PATH'] ?? ''}`);
  return async () => (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n');
}

const install = async (): Promise<void> => await installWithPip(folder, new AbortController().signal);

const UNTRUSTED =
  'echo "SSLError(1, \'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate\')" >&2; exit 1';

it('asks pip as it is set, once, where that does', async () => {
  const calls = await pip('exit 0');
  await install();
  const asked = await calls();
  expect(asked).toHaveLength(1);
  expect(asked[0]).not.toContain('--cert');
});

it('gives pip all that Node trusts where it knows no authority of the company', async () => {
  const calls = await pip(`case "$*" in *--cert*) exit 0 ;; esac\n${UNTRUSTED}`);
  await install();
  const [, again = ''] = await calls();
  const [, file = ''] = /--cert (\S+)/.exec(again) ?? [];
  expect(await readFile(file, 'utf8')).toContain(rootCertificates[0]);
});

it('says what pip said where that does not help either, and asks no third time', async () => {
  const calls = await pip(UNTRUSTED);
  await expect(install()).rejects.toThrow(/pip could not install .*certificate verify failed/);
  expect(await calls()).toHaveLength(2);
});

it('asks once where it is something else', async () => {
  const calls = await pip('echo "No matching distribution" >&2; exit 1');
  await expect(install()).rejects.toThrow('No matching distribution');
  expect(await calls()).toHaveLength(1);
});
