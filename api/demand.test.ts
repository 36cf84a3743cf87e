import { describe, expect, test } from 'vitest';
import { NO_DEMAND, parseDemandLine } from './demand.ts';
import type { ModelDemand } from './demand.ts';

const line = (models: Record<string, Partial<ModelDemand>> = {}): string =>
  `${JSON.stringify({
    instance: 'one',
    sequence: 3,
    models: Object.fromEntries(Object.entries(models).map(([key, demand]) => [key, { ...NO_DEMAND, ...demand }])),
  })}\n`;

describe('parseDemandLine', () => {
  test('reads a line; of fields it does not know it keeps none', () => {
    const text = line({ 'a/b': { offeredTokens: 5, capacityTokensPerSecond: 7 }, 'c/d': {} });
    expect(parseDemandLine(text)).toEqual(JSON.parse(text));
    expect(parseDemandLine(text.replace('{"instance"', '{"future":1,"instance"'))).toEqual(JSON.parse(text));
  });

  test('knows a line of changes from a whole one', () => {
    const text = line({ 'a/b': {} });
    expect(parseDemandLine(text.replace('{', '{"changes":true,'))?.changes).toBe(true);
    expect(parseDemandLine(text)?.changes).toBeUndefined();
  });

  test.each([
    '',
    'x',
    '{}',
    '[]',
    'null',
    line({ 'a/b': { offeredTokens: -1 } }),
    '{"instance":"","sequence":1,"models":{}}',
  ])('refuses %j', (text) => expect(parseDemandLine(text)).toBeUndefined());
});
