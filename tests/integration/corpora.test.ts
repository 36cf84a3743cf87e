// The corpora that the command sends are those of the runtime bench. `UPDATE_CORPORA=1` writes where they are cut.
import { writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { buildCorpora, findCuts } from '../../bench/runtime/corpora.ts';
import { CORPUS_NAMES, readCorpus } from '../../cli/corpora.ts';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import { minilm } from '../helpers/minilm.ts';

const CUTS = new URL('../../cli/corpus/cuts.json', import.meta.url);

it('are the same texts in the same order', async () => {
  const { snapshotDir } = await minilm();
  const tokenizer = await loadTokenizer({ folder: snapshotDir, maxTokens: 256 });
  if (process.env['UPDATE_CORPORA'] === '1') await writeFile(CUTS, `${JSON.stringify(await findCuts(tokenizer))}\n`);
  const corpora = await buildCorpora(tokenizer);
  for (const name of CORPUS_NAMES) {
    const texts = corpora[name].texts.map(({ text }) => text);
    expect(texts.length).toBeGreaterThanOrEqual(1000);
    expect(await readCorpus(name)).toEqual(texts);
  }
});
