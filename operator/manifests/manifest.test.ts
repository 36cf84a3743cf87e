import { describe, expect, test } from 'vitest';
import { covers, parseQuantity, sameQuantity } from './manifest.ts';

describe('covers', () => {
  const wanted = {
    spec: {
      containers: [
        { name: 'a', args: ['x'], env: [{ name: 'E', value: '1' }], resources: { limits: { cpu: '1000m' } } },
      ],
      tolerations: [{ key: 'k' }],
    },
  };
  const found = {
    metadata: { resourceVersion: '3' },
    spec: {
      restartPolicy: 'Always',
      containers: [
        { name: 'sidecar' },
        {
          name: 'a',
          image: 'd',
          args: ['x'],
          env: [{ name: 'Z' }, { name: 'E', value: '1' }],
          resources: { limits: { cpu: 1 } },
        },
      ],
      tolerations: [{ key: 'k', operator: 'Equal' }],
    },
  };

  test('overlooks defaults, foreign items of keyed lists and other spellings of a quantity', () => {
    expect(covers(found, wanted)).toBe(true);
  });

  test('takes what the server drops for absent', () => {
    expect(covers({}, { a: [], b: '', c: null })).toBe(true);
    expect(covers({ a: [1] }, { a: [] })).toBe(false);
  });

  test.each([
    ['a changed value', { spec: { restartPolicy: 'Never' } }],
    ['a missing field', { spec: { hostNetwork: false } }],
    ['a missing item', { spec: { containers: [{ name: 'b' }] } }],
    ['another list of words', { spec: { containers: [{ name: 'a', args: ['x', 'y'] }] } }],
    ['a shorter atomic list', { spec: { tolerations: [] } }],
    ['another amount', { spec: { containers: [{ name: 'a', resources: { limits: { cpu: '1001m' } } }] } }],
  ])('sees %s', (_what, want) => expect(covers(found, want)).toBe(false));
});

test.each([
  ['500m', 0.5],
  ['2Gi', 2 ** 31],
  ['1e3', 1000],
  ['.5', 0.5],
  ['3', 3],
  ['1E', 1e18],
])('parseQuantity(%s)', (text, amount) => expect(parseQuantity(text)).toBe(amount));

test('amounts are compared, not spellings', () => {
  expect(sameQuantity('1024Mi', '1Gi')).toBe(true);
  expect(sameQuantity('100m', '0.1')).toBe(true);
  expect(sameQuantity('1', '1Gi')).toBe(false);
  expect(sameQuantity('what', 'what')).toBe(true);
});
