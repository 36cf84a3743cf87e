import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { filePath, parseListing, refusal } from './listing.ts';
import type { HubClient } from './client.ts';

const SHA = 'a'.repeat(40);
const hub = (hasToken: boolean): HubClient => ({
  endpoint: 'https://hub.test',
  credentials: hasToken ? 'token' : 'none',
  send: async () => await Promise.reject(new Error('not asked')),
  close: async () => await Promise.resolve(),
});
const answer = (status: number, code?: string) => ({
  status,
  headers: code === undefined ? {} : { 'x-error-code': code },
  body: Readable.from([]),
  fromHub: true,
});
const wanted = { modelId: 'acme/x', revision: 'main' };

test('a listing: LFS files by their SHA-256, others by their blob id', () => {
  const listing = parseListing(
    JSON.stringify({
      sha: SHA,
      siblings: [
        { rfilename: 'config.json', size: 3, blobId: 'b'.repeat(40) },
        { rfilename: 'model.safetensors', size: 9, blobId: 'b'.repeat(40), lfs: { sha256: 'c'.repeat(64), size: 9 } },
        { rfilename: 'plain.txt' },
        { rfilename: 'odd.txt', size: 1, blobId: '../../x' },
      ],
    }),
  );
  expect(listing?.names).toEqual(['config.json', 'model.safetensors', 'plain.txt', 'odd.txt']);
  expect([...(listing?.known.values() ?? [])]).toEqual([
    { name: 'config.json', size: 3, etag: 'b'.repeat(40) },
    { name: 'model.safetensors', size: 9, etag: 'c'.repeat(64) },
  ]);
});

test.each(['', '<html>', '{}', '{"sha":"../..","siblings":[]}', '[]'])('%j is no listing', (text) => {
  expect(parseListing(text)).toBeUndefined();
});

test('a page that forbids comes from a proxy: no model is to blame, and other sources are asked', () => {
  const { status, body } = answer(403);
  const page = { status, body, headers: { 'content-type': 'text/html; charset=utf-8' } };
  const error = refusal(page, { ...wanted, hub: hub(false) });
  expect(error.reason).toBe('HubUnreachable');
  expect(error.message).toMatch(/blocked on the way.* HF_ENDPOINT/);
  expect(refusal({ ...page, status: 401 }, { ...wanted, hub: hub(false) }).reason).toBe('GatedRepository');
});

test.each([
  [401, 'RepoNotFound', 'RepositoryNotFound'],
  [401, 'GatedRepo', 'GatedRepository'],
  [403, 'GatedRepo', 'GatedRepository'],
  [404, 'RevisionNotFound', 'RevisionNotFound'],
  [404, 'EntryNotFound', 'RevisionNotFound'],
  [401, undefined, 'GatedRepository'],
  [403, undefined, 'GatedRepository'],
  [404, undefined, 'RepositoryNotFound'],
  [418, undefined, 'HubUnreachable'],
] as const)('status %d with code %s means %s', (status, code, reason) => {
  const error = refusal(answer(status, code), { ...wanted, hub: hub(false) });
  expect(error.reason).toBe(reason);
  expect(error.message).toContain('acme/x@main');
  expect(error.message).toContain(String(status));
});

test('the advice tells a missing token from one without access', () => {
  expect(refusal(answer(401, 'GatedRepo'), { ...wanted, hub: hub(false) }).message).toContain('no token was given');
  expect(refusal(answer(403, 'GatedRepo'), { ...wanted, hub: hub(true) }).message).toContain('has no access');
});

test('names are escaped in paths', () => {
  expect(filePath({ modelId: 'acme/x', revision: SHA }, '1_Pooling/con?fig #.json')).toBe(
    `/acme/x/resolve/${SHA}/1_Pooling/con%3Ffig%20%23.json`,
  );
});
