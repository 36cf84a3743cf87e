import { expect, it } from 'vitest';
import { insertReport } from './report.ts';

it('keeps everything around the markers of the section', () => {
  const other = '<!-- bench:scale -->\nkept\n<!-- /bench:scale -->';
  const document = `before\n<!-- bench:runtime -->\nold\n<!-- /bench:runtime -->\nafter\n${other}`;
  expect(insertReport(document, 'new', 'bench:runtime')).toBe(
    `before\n<!-- bench:runtime -->\n\nnew\n\n<!-- /bench:runtime -->\nafter\n${other}`,
  );
});

it('refuses a document without them', () => {
  expect(() => insertReport('text', 'new', 'bench:scale')).toThrow('lacks <!-- bench:scale -->');
});
