import { describe, expect, it } from 'vitest';
import { withModel, withoutModel } from './models.ts';

describe('the list of supported models', () => {
  it('adds a line once, whatever the end of the file', () => {
    expect(withModel('a/b', 'c/d')).toBe('a/b\nc/d\n');
    expect(withModel('a/b\n', 'a/b')).toBe('a/b\n');
    expect(withModel('', 'c/d alias=x')).toBe('c/d alias=x\n');
  });

  it('refuses what is no id', () => {
    expect(() => withModel('', '../x')).toThrow('"../x" is no Hugging Face id');
    expect(() => withModel('', 'a/b/c alias=x')).toThrow('"a/b/c" is no Hugging Face id');
    expect(() => withModel('', 'a/b wrong=1')).toThrow(/wrong=1/);
  });

  it('removes every line of a model and nothing else', () => {
    expect(withoutModel('# top\na/b\nc/d alias=x # why\ne/f\n', 'c/d')).toBe('# top\na/b\ne/f\n');
    expect(() => withoutModel('a/b\n', 'c/d')).toThrow('c/d is not in the list');
  });
});
