import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { REASONS } from './conditions.ts';

it('has a section on the troubleshooting page for every reason, and for nothing else', async () => {
  const page = await readFile(new URL('../docs/troubleshooting.md', import.meta.url), 'utf8');
  const sections = [...page.matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
  expect(sections.toSorted()).toEqual(Object.keys(REASONS).toSorted());
});
