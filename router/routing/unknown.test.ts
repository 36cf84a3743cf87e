import { describe, expect, it } from 'vitest';
import type { Caller } from '../auth/limits.ts';
import type { RouteTable, ServedModel } from './table.ts';
import { createUnknownModel, nearest } from './unknown.ts';

const table = (names: readonly string[]): RouteTable => ({
  byKey: new Map(),
  byName: new Map(names.map((name) => [name, { names: [name] } as unknown as ServedModel])),
  byFoldedName: new Map(),
});
const sees = (isSeen: (name: string) => boolean): Caller => ({
  mayUse: ({ names }) => names.some(isSeen),
  seesAll: false,
  charge: () => ({ headers: [], settle: () => undefined }),
});

describe('the 404 for an unknown model', () => {
  const unknownModel = createUnknownModel(() => 0);

  it('names the nearest first', () => {
    const names = ['BAAI/bge-m3', 'sentence-transformers/all-MiniLM-L6-v2', 'intfloat/e5-small'];
    expect(nearest('all-minilm-l6-v2', names, 2)[0]).toBe('sentence-transformers/all-MiniLM-L6-v2');
    expect(nearest('openai/bge-m3:latest', names, 1)).toEqual(['BAAI/bge-m3']);
    expect(nearest('', names, 5)).toHaveLength(3);
  });

  it('says where models come from and what an alias looks like', () => {
    const { message, status } = unknownModel(
      'text-embedding-3-small',
      table(['org/a']),
      sees(() => true),
    );
    expect(status).toBe(404);
    for (const words of ['`org/a`', 'supported_models.txt', 'servedNames', 'alias=text-embedding-3-small']) {
      expect(message).toContain(words);
    }
  });

  it('has the same words for what is hidden and for what is not there', () => {
    const words = (name: string) =>
      unknownModel(
        name,
        table(['org/mine', 'org/secret']),
        sees((one) => one === 'org/mine'),
      ).message.replaceAll(name, '');
    expect(words('org/secret')).toBe(words('org/nothg'));
    expect(words('org/nothing')).not.toContain('secret');
  });

  it('costs the same however long the list', () => {
    const names = Array.from({ length: 50_000 }, (_, at) => `org/model-${at}`);
    expect(
      unknownModel(
        'x'.repeat(1e6),
        table(names),
        sees(() => true),
      ).message.length,
    ).toBeLessThan(1000);
  });

  it('compares names so often a second at most, and says less beyond that', () => {
    let nowMs = 0;
    const unknown = createUnknownModel(() => nowMs);
    let looks = 0;
    const caller = sees(() => {
      looks += 1;
      return true;
    });
    const ask = () => unknown('org/b', table(['org/a']), caller).message;
    const messages = Array.from({ length: 1000 }, ask);
    expect(looks).toBe(20);
    expect(messages.at(-1)).toContain('GET /v1/models');
    expect(messages.at(-1)).not.toContain('org/a');
    nowMs = 1000;
    expect(ask()).toContain('`org/a`');
  });
});
