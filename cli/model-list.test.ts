import { describe, expect, it } from 'vitest';
import { withModel, withoutModel } from './model-list.ts';

describe('the list of supported models', () => {
  it('adds a line once, whatever the end of the file', () => {
    expect(withModel('a/b', 'c/d')).toBe('a/b\nc/d\n');
    expect(withModel('a/b\n', 'a/b')).toBe('a/b\n');
    expect(withModel('', 'c/d alias=x')).toBe('c/d alias=x\n');
  });

  it('does not take a line with other options for what was asked', () => {
    const list = '# top\na/b pooling=cls minReplicas=1 maxReplicas=3\n';
    expect(withModel(list, 'a/b pooling=declared')).toBe(list);
    expect(withModel(list, 'a/b minReplicas=1 pooling=cls', 'a/b minReplicas=1 pooling=cls')).toBe(list);
    expect(withModel(list, 'a/b pooling=cls', 'a/b pooling=cls')).toBe(list);
    for (const wanted of ['a/b pooling=max', 'a/b alias=x', 'a/b minReplicas=2'])
      expect(() => withModel(list, wanted, wanted)).toThrow('a/b is in line 2 already, with other options');
  });

  it('refuses what is no id', () => {
    expect(() => withModel('', '../x')).toThrow('"../x" is not a Hugging Face id');
    expect(() => withModel('', 'a/b/c alias=x')).toThrow('"a/b/c" is not a Hugging Face id');
    expect(() => withModel('', 'a/b wrong=1')).toThrow(/wrong=1/);
  });

  it('removes every line of a model and nothing else', () => {
    expect(withoutModel('# top\na/b\nc/d alias=x # why\ne/f\n', 'c/d')).toBe('# top\na/b\ne/f\n');
    expect(() => withoutModel('a/b\n', 'c/d')).toThrow('c/d is not in the list');
  });
});
