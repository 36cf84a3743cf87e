// Every setting that the original class of a family reads is read by our builder, refused where it is not, or known to move no vector.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { foldersOf } from '../../hub/files.ts';
import { readTwin, repositoryFiles, twinNames } from '../../tests/helpers/twins.ts';
import type { Twin } from '../../tests/helpers/twins.ts';
import { describingFiles, describeFiles } from '../model/snapshot.ts';
import { OTHER_NAMES, changesVectors, watchConfig } from '../model/settings.ts';
import { buildGraph } from './build.ts';
import type { TensorDtype, TensorEntry, TensorIndex } from './weights.ts';

interface Family {
  readonly class: string;
  readonly reads: readonly string[];
  readonly aliases: Readonly<Record<string, string>>;
}

const path = new URL('../../tests/fixtures/config-keys.json', import.meta.url).pathname;
const families = JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, Family>>;

/** What a class reads and no vector depends on. */
const INERT: Readonly<Record<string, readonly string[]>> = {
  'training alone': [
    ...['attention_dropout', 'attention_probs_dropout_prob', 'attn_pdrop', 'dropout', 'dropout_rate', 'embd_pdrop'],
    ...['embedding_dropout', 'hidden_dropout', 'hidden_dropout_prob', 'mlp_dropout', 'pooler_dropout', 'resid_pdrop'],
    ...['initializer_cutoff_factor', 'initializer_factor', 'initializer_range', 'sinusoidal_pos_embds'],
  ],
  'heads behind the token vectors': [
    ...['classifier_activation', 'classifier_bias', 'classifier_dropout', 'classifier_dropout_prob'],
    ...['pooler_hidden_act', 'pooler_hidden_size', 'summary_activation', 'summary_first_dropout'],
    ...['summary_last_dropout', 'summary_proj_to_labels', 'summary_type', 'summary_use_proj', 'tie_word_embeddings'],
  ],
  'the decoder beside the encoder': ['decoder_start_token_id', 'is_encoder_decoder', 'num_decoder_layers'],
  'how it is computed, not what': [
    ...['chunk_size_feed_forward', 'deterministic_flash_attn', 'reorder_and_upcast_attn', 'use_cache'],
    ...['output_hidden_states', 'return_dict'],
  ],
  'the row of the padding, which no text has': ['pad_token_id'],
  'pictures beside the text': ['image_token_id', 'mm_tokens_per_image', 'text_config', 'vision_config'],
};
const inert = new Set(Object.values(INERT).flat());

/** As the headers of the weights would say, those of the modules included. */
function tensorsOf(twin: Twin, modules: readonly string[]): TensorIndex {
  const tensors = new Map<string, TensorEntry>();
  for (const [file, { tensors: rows }] of Object.entries(twin.weights)) {
    const folder = file.includes('/') ? `${file.slice(0, file.lastIndexOf('/'))}/` : '';
    if (folder !== '' && !modules.includes(folder.slice(0, -1))) continue;
    for (const [name, dtype, shape] of rows) {
      const entry = { file, dtype: dtype as TensorDtype, shape: [...shape], byteOffset: 0, byteLength: 4 };
      tensors.set(folder + name, entry);
    }
  }
  return tensors;
}

/** Of config.json, by all that describes the model and builds its graph. */
async function readOf(twin: Twin): Promise<ReadonlySet<string | symbol>> {
  const files = await repositoryFiles(twin);
  // Their headers are not in the list of the twin's tensors.
  if ([...files.keys()].some((name) => name.endsWith('.bin'))) return new Set();
  const json = new Map(await describingFiles((name) => Promise.resolve(files.get(name)?.toString()), ''));
  const watched = watchConfig(json.get('config.json') as Readonly<Record<string, unknown>>);
  json.set('config.json', watched.config);
  const tensors = tensorsOf(twin, foldersOf(json.get('modules.json')).modules);
  const options = { pooling: 'declared', layout: 'packed', precision: 'float32' } as const;
  try {
    buildGraph(describeFiles(json, tensors), tensors, options);
  } catch (error) {
    if (twin.expected.refusal === undefined) throw error;
  }
  return watched.read;
}

const served = twinNames
  .map(readTwin)
  .filter(({ expected, weights }) => expected.vectors !== undefined && 'model.safetensors' in weights);
const typeOf = async (twin: Twin): Promise<unknown> =>
  (JSON.parse((await repositoryFiles(twin)).get('config.json')?.toString() ?? '{}') as { model_type?: unknown })
    .model_type;
const twinsByType = Map.groupBy(
  await Promise.all(served.map(async (twin) => [await typeOf(twin), twin] as const)),
  ([type]) => type,
);

describe.each(Object.entries(families))('%s', (type, family) => {
  it(`has no setting that ${family.class} reads and we pass over`, async () => {
    const twins = twinsByType.get(type) ?? [];
    expect(twins.length).toBeGreaterThan(0);
    const read = new Set(
      (await Promise.all(twins.map(async ([, twin]) => await readOf(twin)))).flatMap((one) => [...one]),
    );
    const real = (name: string): string => family.aliases[name] ?? name;
    const passed = family.reads.filter(
      (name) => ![name, real(name)].some((one) => read.has(one) || changesVectors(one)) && !inert.has(name),
    );
    expect(passed).toEqual([]);
  });

  it('has the other names of its settings', () => {
    expect(OTHER_NAMES[type] ?? {}).toEqual(family.aliases);
  });
});
