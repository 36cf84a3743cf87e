import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkRevision, readModelSettings, storePaths } from './paths.ts';

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
  const storeWith = (env: Readonly<Record<string, string>>): string => readModelSettings(env, '/home/me').store;
  expect(storeWith({})).toBe('/home/me/.cache/huggingface/hub');
  expect(storeWith({ XDG_CACHE_HOME: '/xdg' })).toBe('/xdg/huggingface/hub');
  expect(storeWith({ XDG_CACHE_HOME: '/xdg', HF_HOME: '/hf' })).toBe('/hf/hub');
  expect(storeWith({ HF_HOME: '/hf', HF_HUB_CACHE: '/hub' })).toBe('/hub');
  expect(storeWith({ HF_HUB_CACHE: '/hub', KUBEMBED_STORE: '/own' })).toBe('/own');
  expect(storeWith({ HF_HOME: '', HF_HUB_CACHE: '' })).toBe('/home/me/.cache/huggingface/hub');
  expect(storeWith({ HF_HOME: '~/models' })).toBe('/home/me/models/hub');
});

test('the hub is the one of every Hugging Face tool; an empty value counts as unset', () => {
  const hubWith = (env: Readonly<Record<string, string>>) => {
    const { endpoint, token, offline } = readModelSettings(env, '/home/me').hub;
    return { endpoint, token: token?.value, offline };
  };
  const unset = { endpoint: undefined, token: undefined, offline: false };
  expect(hubWith({})).toEqual(unset);
  expect(hubWith({ HF_ENDPOINT: '', HF_TOKEN: '', HF_HUB_OFFLINE: '' })).toEqual(unset);
  expect(hubWith({ HF_ENDPOINT: 'http://hub', HF_TOKEN: 't', HF_HUB_OFFLINE: 'Yes' })).toEqual({
    endpoint: 'http://hub',
    token: 't',
    offline: true,
  });
  for (const value of ['0', 'off', 'no', 'false']) expect(hubWith({ HF_HUB_OFFLINE: value }).offline).toBe(false);
});
