import { describe, expect, it, test } from 'vitest';
import { between } from './markdown.ts';
import { renderNumbers } from './numbers.ts';
import { stalePages } from './reference.ts';
import { fieldsOf, limitsInWords, typeInWords } from './schema.ts';
import type { Schema } from './schema.ts';

test('the generated pages are what their sources say; `npm run docs:reference` writes them', async () => {
  expect([...(await stalePages()).keys()]).toEqual([]);
});

describe('schemas in words', () => {
  it.each<[Schema, string, string]>([
    [{ type: 'integer', minimum: 1, maximum: 5, default: 2 }, 'integer', '1 to 5; default `2`'],
    [{ type: 'integer', minimum: 0, maximum: 2 ** 31 - 1 }, 'integer', ''],
    [{ enum: ['a', 'b'] }, '`a`, `b`', ''],
    [{ type: ['boolean', 'null'] }, 'boolean', ''],
    [{ anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }] }, 'integer', 'at least 1'],
    [
      { type: 'array', items: { type: 'array', items: { type: 'string' } }, maxItems: 3 },
      'list of list of string',
      'at most 3 items',
    ],
    [{ type: 'array', items: { anyOf: [{ type: 'string' }, { type: 'number' }] } }, 'list of (string or number)', ''],
    [{ type: 'object', additionalProperties: { 'x-kubernetes-int-or-string': true } }, 'map of number or string', ''],
    [{ $ref: '#/components/schemas/Error' }, 'Error', ''],
    [{ type: 'string', minLength: 1, maxLength: 9 }, 'string', 'at most 9 characters'],
  ])('%j', (schema, type, limits) => {
    expect([typeInWords(schema), limitsInWords(schema)]).toEqual([type, limits]);
  });

  it('finds the fields below lists too', () => {
    const schema: Schema = {
      required: ['a'],
      properties: { a: { items: { properties: { b: { type: 'string' } } } }, c: { properties: { d: {} } } },
    };
    expect(fieldsOf(schema).map(({ path, required }) => [path, required])).toEqual([
      ['a', true],
      ['a[].b', false],
      ['c', false],
      ['c.d', false],
    ]);
  });
});

describe('numbers', () => {
  const CELLS = ['A:1', 'A:64', 'B:8', 'C:8', 'C32:8', 'D:1'];
  const page = (cells: readonly string[]): string =>
    [
      '| cell | of the limit | target | TEI, earlier |',
      '| - | - | - | - |',
      ...cells.map((cell) => `| ${cell} | 0.${cell.length} | x | 0.1 |`),
      '',
      '| other |',
    ].join('\n');

  it('come from the columns of the document, wherever these stand', () => {
    expect(renderNumbers(page(CELLS))).toContain('| mixed lengths, 8 clients | 0.3 | 0.1 |');
  });

  it('are not made up: a cell or a column that is gone is an error', () => {
    expect(() => renderNumbers(page(CELLS.slice(1)))).toThrow('no cell A:1');
    expect(() => renderNumbers('| cell |\n| - |\n')).toThrow(/no table with the columns/);
  });

  it('replace what stood between the markers', () => {
    expect(between('a <!-- n --> old <!-- /n --> b', 'n', 'new')).toBe('a <!-- n -->\n\nnew\n\n<!-- /n --> b');
    const other = '<!-- other -->\nkept\n<!-- /other -->';
    expect(between(`before\n<!-- n -->\nold\n<!-- /n -->\nafter\n${other}`, 'n', 'new')).toBe(
      `before\n<!-- n -->\n\nnew\n\n<!-- /n -->\nafter\n${other}`,
    );
    expect(() => between('a', 'n', 'new')).toThrow(/no <!-- n -->/);
  });
});
