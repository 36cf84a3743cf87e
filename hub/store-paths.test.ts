import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkRevision, locateStore, storePaths } from './store-paths.ts';

test.each(['all-MiniLM-L6-v2', 'sentence-transformers/all-MiniLM-L6-v2', 'nomic-ai/nomic-embed-text-v1.5', 'a/b_'])(
  '%s is a model id',
  (id) => {
    expect(path.basename(storePaths('/store', id).folder)).toBe(`models--${id.replace('/', '--')}`);
  },
);

test.each([
  '',
  '.',
  '..',
  '../x',
  'a/../b',
  '/etc',
  'a/b/c',
  'a//b',
  'a/.hidden',
  'a--b/c',
  'a\\b',
  'a\0b',
  'x'.repeat(97),
])('%j is no model id', (id) => {
  expect(() => storePaths('/store', id)).toThrow(/no Hugging Face model id/);
});

test('whatever is let through stays in the store', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z./-]{1,20}$/)), (id) => {
      let folders: string[];
      try {
        const paths = storePaths('/store', id);
        folders = [paths.folder, paths.locks];
      } catch {
        return;
      }
      for (const folder of folders) expect(folder.startsWith('/store/')).toBe(true);
      expect(path.dirname(folders[0] ?? '')).toBe('/store');
    }),
  );
});

test('whatever revision is let through stays among the refs', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9./-]{1,20}$/)), (revision) => {
      try {
        checkRevision(revision);
      } catch {
        return;
      }
      expect(path.join('/refs', ...revision.split('/')).startsWith('/refs/')).toBe(true);
    }),
  );
  expect(() => checkRevision('refs/pr/1')).not.toThrow();
});

test('the store is where huggingface_hub would have it', () => {
  const home = '/home/me';
  expect(locateStore({ home })).toBe('/home/me/.cache/huggingface/hub');
  expect(locateStore({ home, xdgCacheHome: '/xdg' })).toBe('/xdg/huggingface/hub');
  expect(locateStore({ home, xdgCacheHome: '/xdg', hfHome: '/hf' })).toBe('/hf/hub');
  expect(locateStore({ home, hfHome: '/hf', hfHubCache: '/hub' })).toBe('/hub');
  expect(locateStore({ home, hfHubCache: '/hub', kubembedStore: '/own' })).toBe('/own');
  expect(locateStore({ home, hfHome: '', hfHubCache: '' })).toBe('/home/me/.cache/huggingface/hub');
  expect(locateStore({ home, hfHome: '~/models' })).toBe('/home/me/models/hub');
});
