import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseCatalog } from './catalog.ts';

describe('parseCatalog', () => {
  test('reads ids, options, comments, blank lines, BOM and carriage returns', () => {
    const text =
      '\uFEFF# head\r\n\r\norg/a # tail\r\n  b alias=x,y revision=v1 minReplicas=1 maxReplicas=3 idleSeconds=60 device=gpu\t\r\n';
    expect(parseCatalog(text)).toEqual({
      entries: [
        { line: 3, spec: { model: 'org/a' } },
        {
          line: 4,
          spec: {
            model: 'b',
            servedNames: ['b', 'x', 'y'],
            revision: 'v1',
            device: 'gpu',
            scaling: { minReplicas: 1, maxReplicas: 3, idleSeconds: 60 },
          },
        },
      ],
      faults: [],
      kept: new Set(),
      models: new Set(['org/a', 'b']),
    });
  });

  test('says the same whatever was read before, and keeps what it read of lines that are in both', () => {
    const line = fc.constantFrom(
      'a',
      'b',
      'A',
      'a alias=b',
      'b alias=c',
      'c strange',
      'a revision=v1',
      '# a',
      '',
      'x y=z',
    );
    const text = fc.array(line, { maxLength: 8 }).map((lines) => lines.join('\n'));
    fc.assert(
      fc.property(text, text, (first, second) => {
        const before = parseCatalog(first);
        expect(parseCatalog(second, before)).toEqual(parseCatalog(second));
      }),
    );
    const [before] = [parseCatalog('a alias=x\nb')];
    const { entries } = parseCatalog('# new\nb\na alias=x\nc', before);
    expect(entries.map(({ spec }) => spec).slice(0, 2)).toEqual([before.entries[1]!.spec, before.entries[0]!.spec]);
    expect([entries[0]!.spec === before.entries[1]!.spec, entries[1]!.spec === before.entries[0]!.spec]).toEqual([
      true,
      true,
    ]);
  });

  test('a line gives its names prompts of the repository', () => {
    const { entries, faults } = parseCatalog(
      'org/a alias=q,p:1 prompts=q:query,p:1:passage\norg/b prompts=q:query\norg/c prompts=query',
    );
    expect(entries.map(({ spec }) => spec)).toEqual([
      { model: 'org/a', servedNames: ['org/a', 'q', 'p:1'], prompts: { q: 'query', 'p:1': 'passage' } },
    ]);
    expect(faults.map(({ message }) => message)).toEqual([
      expect.stringContaining('prompts may only have names that are in servedNames'),
      expect.stringContaining('prompts may only have names that are in servedNames'),
    ]);
  });

  test('reports bad lines by number and keeps the rest', () => {
    const { models, entries, kept, faults } = parseCatalog(
      'good/one\nbad/id/here\ngood/two colour=red\ngood/three minReplicas=x\nGood/One\nlast',
    );
    expect(entries.map(({ spec }) => spec.model)).toEqual(['good/one', 'last']);
    expect([...kept]).toEqual(['good/two', 'good/three']);
    expect([...models]).toEqual(['good/one', 'last', 'good/two', 'good/three']);
    expect(faults.map(({ line }) => line)).toEqual([2, 3, 4, 5]);
    expect(faults[1]?.message).toMatch(/"colour=red" is no option; known: alias/);
    const [words] = parseCatalog('not a model').faults;
    expect(words?.message).toMatch(/^"a" and "model" are no options; known: alias, [^"]*$/);
    expect(faults[3]?.message).toBe('Good/One is listed already in line 1');
  });

  test('a name is one line’s, in whatever case, and a slip is forgiven where the id has a good line', () => {
    const { entries, faults, kept } = parseCatalog('a alias=x\nb alias=X\nc colour=red\nc');
    expect(entries.map(({ line }) => line)).toEqual([1, 4]);
    expect([...kept]).toEqual(['b']);
    expect(faults.map(({ message }) => message)).toEqual([
      'X is a name of line 1',
      expect.stringContaining('"colour=red" is no option'),
    ]);
  });

  test('never throws, whatever the text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseCatalog(text)));
    expect(parseCatalog('m __proto__=1 constructor=2').faults[0]?.message).toMatch(/"__proto__=1".*"constructor=2"/);
  });

  test('the shipped list has no fault and starts with all-MiniLM-L6-v2', () => {
    const { entries, faults } = parseCatalog(readFileSync(new URL('../supported_models.txt', import.meta.url), 'utf8'));
    expect(faults).toEqual([]);
    expect(entries[0]?.spec.model).toBe('sentence-transformers/all-MiniLM-L6-v2');
    expect(entries.length).toBeGreaterThan(12);
  });
});
