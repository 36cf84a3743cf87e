import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { childName, revisionKey, resourceNameOf } from './names.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const DNS_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const part = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/);
const modelId = fc.tuple(part, fc.option(part)).map(([a, b]) => (b === null ? a : `${a}/${b}`));

describe('resourceNameOf', () => {
  test.each([
    ['sentence-transformers/all-MiniLM-L6-v2', 'sentence-transformers--all-minilm-l6-v2'],
    ['nomic-ai/nomic-embed-text-v1.5', 'nomic-ai--nomic-embed-text-v1.5'],
    ['gpt2', 'gpt2'],
  ])('%s → %s', (id, name) => expect(resourceNameOf(id)).toBe(name));

  test('marks a lossy name with a hash', () => {
    expect(resourceNameOf('org/under_score')).toMatch(/^org--under-score-[0-9a-f]{8}$/);
    expect(resourceNameOf('a--b')).not.toBe(resourceNameOf('a/b'));
    expect(resourceNameOf('org/under_score')).not.toBe(resourceNameOf('org/under-score'));
  });

  test('is always a valid resource name and label value', () => {
    fc.assert(
      fc.property(modelId, (id) => {
        const name = resourceNameOf(id);
        expect(name).toMatch(SUBDOMAIN);
        expect(name.length).toBeLessThanOrEqual(63);
      }),
    );
  });

  test('different ids have different names, but for case', () => {
    fc.assert(
      fc.property(modelId, modelId, (a, b) => {
        fc.pre(a.toLowerCase() !== b.toLowerCase());
        expect(resourceNameOf(a)).not.toBe(resourceNameOf(b));
      }),
    );
  });
});

test('child names are Service names, and apart for different models', () => {
  fc.assert(
    fc.property(modelId, modelId, (a, b) => {
      const [left, right] = [resourceNameOf(a), resourceNameOf(b)];
      expect(childName(left)).toMatch(DNS_1035);
      expect(childName(left).length).toBeLessThanOrEqual(63);
      expect(childName(left) === childName(right)).toBe(left === right);
    }),
  );
});

test('revision keys are valid ConfigMap keys for any branch name', () => {
  expect(revisionKey('refs/pr/1')).toMatch(/^sha-[0-9a-f]{16}$/);
  expect(revisionKey('main')).not.toBe(revisionKey('dev'));
});
