import { describe, expect, it } from 'vitest';
import { mayUse, parseKeys } from './api-keys.ts';

describe('keys', () => {
  const hash = 'A'.repeat(64);

  it('reads hashes and what they may use', () => {
    const keys = parseKeys(
      `keys: [{name: a, sha256: ${hash}, models: [org/m]}, {name: b, sha256: '${'1'.repeat(64)}'}]`,
    );
    const key = keys.get(hash.toLowerCase());
    expect(key && mayUse(key, ['org/m', 'alias'])).toBe(true);
    expect(key && mayUse(key, ['org/other'])).toBe(false);
  });

  it.each(['keys: 3', 'keys: [{name: a, sha256: short}]', `keys: [{name: a, sha256: ${hash}, modles: [x]}]`])(
    'refuses %s and does not repeat it',
    (text) => {
      expect(() => parseKeys(text)).toThrow();
      expect(() => parseKeys(text)).not.toThrow(hash);
    },
  );
});
