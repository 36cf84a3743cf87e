import { expect, it } from 'vitest';
import { banner } from './banner.ts';

it('says where it is, what it serves, and a request that works', () => {
  const text = banner('http://127.0.0.1:1', ['org/first', 'org/second'], 'list.txt');
  expect(text).toContain('\nkubembed is ready at http://127.0.0.1:1/v1\n');
  expect(text).toContain('\n  status page  http://127.0.0.1:1/\n');
  expect(text).toContain('\n  org/first\n  org/second\n');
  expect(text).toContain('{"model":"org/first","input":"The quick');
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(100);
});

it('says where models come from when there are none', () => {
  const text = banner('http://127.0.0.1:1', [], 'list.txt');
  expect(text).toContain('add Hugging Face ids to list.txt');
  expect(text).not.toContain('curl');
});
