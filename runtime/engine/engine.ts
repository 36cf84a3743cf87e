// The inference engine of one thread that does everything: what takes requests, over the workers it feeds.
import { choosePooling } from '../model/modules.ts';
import { openCompute } from './compute.ts';
import type { EngineOptions } from './compute.ts';
import type { Engine } from './contract.ts';
import { createEmbed } from './embed.ts';
import { tokenizerOptions } from './load.ts';
import { loadTokenizer } from './tokenizer.ts';

/** Rejects with EngineStartError. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const opened = await openCompute(options, () => loadTokenizer(tokenizerOptions(options)));
  const { compute, beside: tokenizer } = opened;
  const { includePrompt } = choosePooling(options.description, options.pooling);
  return { ...compute, embed: createEmbed({ info: compute.info, tokenizer, compute, includePrompt }) };
}
