import { expect, test } from 'vitest';
import { ModelError, isModelError } from './files.ts';
import { explainDisk, requireSpace } from './store.ts';

const need = { store: '/store', modelId: 'acme/x', bytes: 100_000_000 };

test('a download that cannot fit is refused with both numbers', () => {
  try {
    requireSpace(need, 100_000_000);
    expect.unreachable();
  } catch (error) {
    expect(isModelError(error, 'InsufficientDisk')).toBe(true);
    expect(String(error)).toMatch(/acme\/x needs 117 MB more.*\/store.*has 100 MB free/);
  }
});

test('what fits with a margin, or is all there already, is allowed', () => {
  expect(() => requireSpace(need, 120_000_000)).not.toThrow();
  expect(() => requireSpace({ ...need, bytes: 0 }, 0)).not.toThrow();
});

test.each([
  ['ENOSPC', 'InsufficientDisk'],
  ['EDQUOT', 'InsufficientDisk'],
  ['EROFS', 'StoreNotWritable'],
  ['EACCES', 'StoreNotWritable'],
])('%s is told as %s', (code, reason) => {
  const error = explainDisk(Object.assign(new Error(code), { code }), '/store');
  expect(error).toMatchObject({ reason });
});

test('other errors stay as they are', () => {
  const own = new ModelError('GatedRepository', 'x');
  const other = Object.assign(new Error('x'), { code: 'EWHATEVER' });
  expect(explainDisk(own, '/store')).toBe(own);
  expect(explainDisk(other, '/store')).toBe(other);
});
