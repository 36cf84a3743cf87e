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

  it.each([
    ['keys:\n  - name: a\n    sha256: sk-live-secret\n   models: [x]\n', 4],
    ['keys:\n  - name: a\n    sha256: "sk-live-secret\n', 4],
    ['keys:\n  - name: a\n    sk-live-secret: b\n', 2],
    ['keys:\n  - name: a\n    sha256: sk-live-secret\n', 3],
    ['keys:\n  - sk-live-secret\n', 2],
    ['keys: !sk-live-secret\n  - a\n', 1],
    ['keys:\n  - name: a\n    sha256: *sk-live-secret\n', 1],
    ['keys:\n  - name: a\n    name: sk-live-secret\n', 3],
    ['sk-live-secret', 1],
    ['keys:\n  - name: [sk-live-secret]\n', 2],
    ['', 1],
  ])('tells of %j the line and not a word', (text, line) => {
    const words = (): string => {
      try {
        parseKeys(text);
      } catch (fault) {
        return (fault as Error).message;
      }
      return expect.fail('It was read.');
    };
    expect(words()).toMatch(new RegExp(`^line ${line}: `));
    expect(words()).not.toContain('sk-live');
  });

  it.each(['keys: 3', 'keys: [{name: a, sha256: short}]', `keys: [{name: a, sha256: ${hash}, modles: [x]}]`])(
    'refuses %s and does not repeat it',
    (text) => {
      expect(() => parseKeys(text)).toThrow();
      expect(() => parseKeys(text)).not.toThrow(hash);
    },
  );
});
