import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkModel, dropDamaged, listModels } from './verify.ts';
import type { FileCheck } from './verify.ts';

const SHA = 'd'.repeat(40);
const MODEL = 'acme/x';
let store: string;
const blob = (etag: string): string => path.join(store, 'models--acme--x', 'blobs', etag);
const snapshot = (): string => path.join(store, 'models--acme--x', 'snapshots', SHA);
const gitId = (text: string): string => createHash('sha1').update(`blob ${text.length}\0${text}`).digest('hex');

const check = async (): Promise<Map<string, FileCheck>> => {
  const verdicts = new Map<string, FileCheck>();
  for await (const verdict of checkModel(store, MODEL)) verdicts.set(verdict.name, verdict);
  return verdicts;
};

beforeEach(async () => {
  store = await mkdtemp(path.join(tmpdir(), 'kubembed-store-'));
  await mkdir(path.join(store, 'models--acme--x', 'blobs'), { recursive: true });
  await mkdir(snapshot(), { recursive: true });
  await writeFile(blob(gitId('{}')), '{}');
  await symlink(`../../blobs/${gitId('{}')}`, path.join(snapshot(), 'config.json'));
  await writeFile(path.join(snapshot(), 'notes.txt'), 'by hand');
});
afterEach(async () => {
  await rm(store, { recursive: true, force: true });
});

test('what the layout proves is proven, the rest is said to be unproven', async () => {
  expect(await listModels(store)).toEqual([MODEL]);
  const verdicts = await check();
  expect(verdicts.get('config.json')?.state).toBe('intact');
  expect(verdicts.get('notes.txt')?.state).toBe('unproven');
});

test('a changed byte is found, and dropping it leaves a missing file', async () => {
  await writeFile(blob(gitId('{}')), '{!');
  const damaged = (await check()).get('config.json');
  expect(damaged?.state).toBe('damaged');
  await dropDamaged(damaged!);
  expect((await check()).get('config.json')?.state).toBe('missing');
});

test('a file that the record names and the snapshot lacks is missing', async () => {
  const record = { files: [{ name: 'config.json', size: 2, etag: gitId('{}') }] };
  await mkdir(path.join(store, 'models--acme--x', '.kubembed'));
  await writeFile(path.join(store, 'models--acme--x', '.kubembed', SHA), JSON.stringify(record));
  await unlink(path.join(snapshot(), 'config.json'));
  expect((await check()).get('config.json')?.state).toBe('missing');
});

test('a truncated file is damaged by the record although its own size would hash', async () => {
  await unlink(path.join(snapshot(), 'config.json'));
  await writeFile(path.join(snapshot(), 'config.json'), '{');
  const record = { files: [{ name: 'config.json', size: 2, etag: gitId('{}') }] };
  await mkdir(path.join(store, 'models--acme--x', '.kubembed'));
  await writeFile(path.join(store, 'models--acme--x', '.kubembed', SHA), JSON.stringify(record));
  expect((await check()).get('config.json')?.state).toBe('damaged');
});
