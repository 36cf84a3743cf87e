import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { allMetrics, REFERENCE, renderReference } from './reference.ts';

test('docs/metrics.md is what the registries say; `npm run docs:metrics` writes it', async () => {
  expect(readFileSync(REFERENCE, 'utf8')).toBe(await renderReference());
});

test('every metric has a type and a help text that is a sentence', () => {
  const ours = [...allMetrics()].flatMap(([process, metrics]) => (process === 'every process' ? [] : metrics));
  for (const { name, type, help } of ours) {
    expect([name, type]).not.toContain('untyped');
    expect(help, name).toMatch(/^[A-Z0-9].*\.$/);
  }
  expect(ours.length).toBeGreaterThan(40);
});
