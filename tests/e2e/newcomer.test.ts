// What README and quickstart tell a newcomer to type, typed as it stands there in a fresh Debian: a clone, git, curl, Node, npm, Python.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf } from '../helpers/docs-blocks.ts';
import type { Block } from '../helpers/docs-blocks.ts';
import { asNewcomer, LIMIT_MS } from '../helpers/newcomer-machine.ts';
import { outcomesIn, scriptOf } from '../helpers/newcomer.ts';
import type { Outcome } from '../helpers/newcomer.ts';
import { publishTimes } from '../helpers/newcomer-times.ts';
import { vectorPattern } from '../helpers/vector-pattern.ts';

const ROOT = join(import.meta.dirname, '..', '..');

const blocksFor = async (page: string): Promise<Block[]> =>
  blocksOf(await readFile(join(ROOT, page), 'utf8'), page).filter(({ run }) => run === 'here' || run === 'server');

const MINILM_VECTOR = vectorPattern(384);

/** What has to be seen, by what was typed. */
const SEEN: readonly (readonly [string, RegExp])[] = [
  ['npm start', /kubembed is ready at http:\/\/127\.0\.0\.1:11445\/v1/],
  ['"input":"The quick brown fox', MINILM_VECTOR],
  ['--json "The quick brown fox"', MINILM_VECTOR],
  ['a cat sat on the mat","the stock', MINILM_VECTOR],
  ['print("cat and kitten"', /cat and kitten 0\.[4-9]\d*\ncat and market -?0\.[0-2]\d*\ntokens \d+/],
  ["from 'openai'", /384 dimensions/],
  ['kubembed bench', /tokens\/s\s+\d+/],
  ['models/search.yaml', new RegExp(`"id":"text-embedding-3-small"[^]*${vectorPattern(8).source}`)],
  ['models add', /bge-small-en-v1\.5/],
];

describe.skipIf(process.getuid?.() !== 0)('in a root file system of its own, which takes root', () => {
  const name = 'a newcomer types what README and quickstart say, and sees what they promise';
  it(name, { timeout: LIMIT_MS }, async () => {
    const readme = await blocksFor('README.md');
    const quickstart = await blocksFor('docs/quickstart.md');
    // Both start the same server; the second would find the port taken.
    const blocks = [...readme, ...quickstart.filter(({ run }) => run !== 'server')];
    expect(quickstart.filter(({ run }) => run === 'server').map(({ code }) => code)).toEqual(['npm start']);

    const [clone, ...outcomes] = outcomesIn(await asNewcomer(scriptOf(blocks)));

    expect(clone?.at).toBe('clone');
    expect(outcomes.map(({ at }) => at)).toEqual(blocks.map(({ at }) => at));
    const cameOf = (typed: string): Outcome => {
      const { at } = blocks.find(({ code }) => code.includes(typed)) ?? {};
      const outcome = outcomes.find((one) => one.at === at);
      if (outcome === undefined) throw new Error(`nobody types ${typed}`);
      return outcome;
    };
    for (const [typed, pattern] of SEEN) expect(cameOf(typed).output).toMatch(pattern);
    publishTimes({
      clone: clone!.seconds,
      start: cameOf('npm start').seconds,
      vector: cameOf('"input":"The quick brown fox').seconds,
      own: cameOf('models/search.yaml').seconds,
    });
  });
});
