// Repositories of the sizes that people use, with weights from a formula: for what depends on sizes alone, as memory and speed do.
import { open, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom } from '../../bench/runtime/corpora.ts';

type Config = Readonly<Record<string, unknown>>;
type Shapes = Readonly<Record<string, readonly number[]>>;
type Dtype = 'F32' | 'F16' | 'BF16';

export interface MadeModel {
  readonly id: string;
  readonly config: Config;
  readonly shapes: Shapes;
  readonly dtype: Dtype;
  readonly maxTokens: number;
}

export interface MadeSize {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly maxTokens: number;
  /** Default: as many as there are heads. */
  readonly keyValueHeads?: number;
  /** Default: hidden size over heads. */
  readonly headSize?: number;
}

// Names of tensors, by family.

const prefixed = (prefix: string, shapes: Shapes): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));
const merged = (all: readonly Shapes[]): Shapes => Object.assign({}, ...all) as Shapes;
const layersOf = (prefix: string, count: number, shapes: Shapes): Shapes =>
  merged(Array.from({ length: count }, (_, layer) => prefixed(`${prefix}${layer}.`, shapes)));
const linear = (name: string, inputs: number, outputs: number): Shapes => ({
  [`${name}.weight`]: [outputs, inputs],
  [`${name}.bias`]: [outputs],
});
const norm = (name: string, width: number): Shapes => ({ [`${name}.weight`]: [width], [`${name}.bias`]: [width] });

interface Family {
  readonly config: (size: MadeSize) => Config;
  readonly shapes: (size: MadeSize) => Shapes;
}

const encoderConfig = ({ layers, hidden, intermediate, heads, vocabulary }: MadeSize): Config => ({
  num_hidden_layers: layers,
  hidden_size: hidden,
  intermediate_size: intermediate,
  num_attention_heads: heads,
  vocab_size: vocabulary,
  hidden_act: 'gelu',
});

/** BERT's names but for those of attention; no table of positions where there are none. */
function bertLike(size: MadeSize, attention: Shapes, positions: number): Shapes {
  const { layers, hidden, intermediate, vocabulary } = size;
  return merged([
    { 'embeddings.word_embeddings.weight': [vocabulary, hidden] },
    positions > 0 ? { 'embeddings.position_embeddings.weight': [positions, hidden] } : {},
    norm('embeddings.LayerNorm', hidden),
    layersOf(
      'encoder.layer.',
      layers,
      merged([
        attention,
        linear('intermediate.dense', hidden, intermediate),
        linear('output.dense', intermediate, hidden),
        norm('output.LayerNorm', hidden),
      ]),
    ),
  ]);
}

const bertAttention = ({ hidden }: MadeSize): Shapes =>
  merged([
    ...['query', 'key', 'value'].map((name) => linear(`attention.self.${name}`, hidden, hidden)),
    linear('attention.output.dense', hidden, hidden),
    norm('attention.output.LayerNorm', hidden),
  ]);

const bert: Family = {
  config: (size) => ({
    ...encoderConfig(size),
    architectures: ['BertModel'],
    model_type: 'bert',
    max_position_embeddings: size.maxTokens,
  }),
  shapes: (size) => ({
    ...bertLike(size, bertAttention(size), size.maxTokens),
    'embeddings.token_type_embeddings.weight': [2, size.hidden],
  }),
};

const xlmRoberta: Family = {
  config: (size) => ({
    ...encoderConfig(size),
    architectures: ['XLMRobertaModel'],
    model_type: 'xlm-roberta',
    max_position_embeddings: size.maxTokens + 2,
    type_vocab_size: 1,
    pad_token_id: 1,
  }),
  shapes: (size) => ({
    ...bertLike(size, bertAttention(size), size.maxTokens + 2),
    'embeddings.token_type_embeddings.weight': [1, size.hidden],
  }),
};

const mpnet: Family = {
  config: (size) => ({
    ...encoderConfig(size),
    architectures: ['MPNetModel'],
    model_type: 'mpnet',
    max_position_embeddings: size.maxTokens + 2,
  }),
  shapes: (size) => {
    const { hidden, heads } = size;
    const attention = merged([
      ...['q', 'k', 'v', 'o'].map((name) => linear(`attention.attn.${name}`, hidden, hidden)),
      norm('attention.LayerNorm', hidden),
    ]);
    const bias = { 'encoder.relative_attention_bias.weight': [32, heads] };
    return { ...bertLike(size, attention, size.maxTokens + 2), ...bias };
  },
};

/** As DeBERTa v3: distances in buckets, for which the matrices of queries and keys serve as well. */
const DEBERTA_BUCKETS = 256;
const deberta: Family = {
  config: (size) => ({
    ...encoderConfig(size),
    architectures: ['DebertaV2Model'],
    model_type: 'deberta-v2',
    max_position_embeddings: size.maxTokens,
    type_vocab_size: 0,
    relative_attention: true,
    position_biased_input: false,
    position_buckets: DEBERTA_BUCKETS,
    max_relative_positions: -1,
    pos_att_type: ['p2c', 'c2p'],
    share_att_key: true,
    norm_rel_ebd: 'layer_norm',
  }),
  shapes: (size) => {
    const { hidden } = size;
    const attention = merged([
      ...['query', 'key', 'value'].map((name) => linear(`attention.self.${name}_proj`, hidden, hidden)),
      linear('attention.output.dense', hidden, hidden),
      norm('attention.output.LayerNorm', hidden),
    ]);
    const distances = { 'encoder.rel_embeddings.weight': [2 * DEBERTA_BUCKETS, hidden] };
    return { ...bertLike(size, attention, 0), ...distances, ...norm('encoder.LayerNorm', hidden) };
  },
};

const decoderSizes = ({ hidden, heads, keyValueHeads = heads, headSize = hidden / heads }: MadeSize) => ({
  keyValueHeads,
  headSize,
  queries: heads * headSize,
  keys: keyValueHeads * headSize,
});

const decoderConfig = (size: MadeSize): Config => ({
  num_hidden_layers: size.layers,
  hidden_size: size.hidden,
  intermediate_size: size.intermediate,
  num_attention_heads: size.heads,
  num_key_value_heads: decoderSizes(size).keyValueHeads,
  head_dim: decoderSizes(size).headSize,
  vocab_size: size.vocabulary,
  max_position_embeddings: size.maxTokens,
  rms_norm_eps: 1e-6,
});

const decoderShapes = (size: MadeSize, norms: Shapes): Shapes => {
  const { layers, hidden, intermediate, vocabulary } = size;
  const { queries, keys } = decoderSizes(size);
  return merged([
    { 'embed_tokens.weight': [vocabulary, hidden], 'norm.weight': [hidden] },
    layersOf('layers.', layers, {
      'input_layernorm.weight': [hidden],
      'post_attention_layernorm.weight': [hidden],
      'self_attn.q_proj.weight': [queries, hidden],
      'self_attn.k_proj.weight': [keys, hidden],
      'self_attn.v_proj.weight': [keys, hidden],
      'self_attn.o_proj.weight': [hidden, queries],
      'mlp.gate_proj.weight': [intermediate, hidden],
      'mlp.up_proj.weight': [intermediate, hidden],
      'mlp.down_proj.weight': [hidden, intermediate],
      ...norms,
    }),
  ]);
};

const ofHeads = (size: MadeSize): Shapes => ({
  'self_attn.q_norm.weight': [decoderSizes(size).headSize],
  'self_attn.k_norm.weight': [decoderSizes(size).headSize],
});

const qwen3: Family = {
  config: (size) => ({ ...decoderConfig(size), architectures: ['Qwen3Model'], model_type: 'qwen3' }),
  shapes: (size) => decoderShapes(size, ofHeads(size)),
};

const llama: Family = {
  config: (size) => ({ ...decoderConfig(size), architectures: ['LlamaModel'], model_type: 'llama' }),
  shapes: (size) => decoderShapes(size, {}),
};

/** As EmbeddingGemma: both ways, five layers of six with a window. */
const gemma3: Family = {
  config: (size) => ({
    ...decoderConfig(size),
    architectures: ['Gemma3TextModel'],
    model_type: 'gemma3_text',
    hidden_activation: 'gelu_pytorch_tanh',
    query_pre_attn_scalar: decoderSizes(size).headSize,
    sliding_window: 512,
    use_bidirectional_attention: true,
    layer_types: Array.from({ length: size.layers }, (_, layer) =>
      layer % 6 === 5 ? 'full_attention' : 'sliding_attention',
    ),
  }),
  shapes: (size) =>
    decoderShapes(size, {
      ...ofHeads(size),
      'pre_feedforward_layernorm.weight': [size.hidden],
      'post_feedforward_layernorm.weight': [size.hidden],
    }),
};

const t5: Family = {
  config: ({ layers, hidden, intermediate, heads, vocabulary, headSize = hidden / heads }) => ({
    architectures: ['T5EncoderModel'],
    model_type: 't5',
    num_layers: layers,
    d_model: hidden,
    d_ff: intermediate,
    d_kv: headSize,
    num_heads: heads,
    vocab_size: vocabulary,
    feed_forward_proj: 'relu',
  }),
  shapes: ({ layers, hidden, intermediate, heads, vocabulary, headSize = hidden / heads }) => {
    const inner = heads * headSize;
    return merged([
      { 'shared.weight': [vocabulary, hidden], 'encoder.final_layer_norm.weight': [hidden] },
      { 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight': [32, heads] },
      layersOf('encoder.block.', layers, {
        ...Object.fromEntries(
          ['q', 'k', 'v'].map((name) => [`layer.0.SelfAttention.${name}.weight`, [inner, hidden] as const]),
        ),
        'layer.0.SelfAttention.o.weight': [hidden, inner],
        'layer.0.layer_norm.weight': [hidden],
        'layer.1.layer_norm.weight': [hidden],
        'layer.1.DenseReluDense.wi.weight': [intermediate, hidden],
        'layer.1.DenseReluDense.wo.weight': [hidden, intermediate],
      }),
    ]);
  },
};

const FAMILIES = { bert, xlmRoberta, mpnet, deberta, qwen3, llama, gemma3, t5 } as const;
export type MadeFamily = keyof typeof FAMILIES;

export const madeModel = (family: MadeFamily, size: MadeSize, dtype: Dtype = 'F32'): MadeModel => ({
  id: `made/${family}`,
  config: FAMILIES[family].config(size),
  shapes: FAMILIES[family].shapes(size),
  dtype,
  maxTokens: size.maxTokens,
});

// Tokenizers of as many tokens.

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/** Words that are no single letter, each once. */
function* madeWords(): Generator<string> {
  for (let count = LETTERS.length; ; count++) {
    let word = '';
    for (let rest = count; rest > 0; rest = Math.floor(rest / LETTERS.length))
      word += LETTERS.charAt(rest % LETTERS.length);
    yield word;
  }
}

const framed = (first: readonly [string, number], last: readonly [string, number]) => ({
  type: 'TemplateProcessing',
  single: [
    { SpecialToken: { id: first[0], type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
    { SpecialToken: { id: last[0], type_id: 0 } },
  ],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
  special_tokens: Object.fromEntries(
    [first, last].map(([token, id]) => [token, { id: token, ids: [id], tokens: [token] }]),
  ),
});

/** The fewest that a tokenizer can have. */
export const MADE_TOKENS = 4 + 2 * LETTERS.length;

type TokenizerKind = 'WordPiece' | 'Unigram';

const SPECIAL_TOKENS: Readonly<Record<TokenizerKind, readonly string[]>> = {
  Unigram: ['<s>', '<pad>', '</s>', '<unk>'],
  WordPiece: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'],
};

/** tokenizer.json of `count` tokens in which each single letter is one. */
export function madeTokenizer(kind: TokenizerKind, count: number): string {
  const isUnigram = kind === 'Unigram';
  const tokens = [...SPECIAL_TOKENS[kind]];
  for (const letter of LETTERS) tokens.push(isUnigram ? `▁${letter}` : letter, isUnigram ? letter : `##${letter}`);
  const words = madeWords();
  while (tokens.length < count) tokens.push(`${isUnigram ? '▁' : ''}${words.next().value as string}`);
  return tokenizerOf(kind, tokens, null);
}

/** tokenizer.json of the other kind, with the tokens of a WordPiece vocabulary in their order. */
export function unigramOf(wordPieces: readonly string[]): string {
  const special = SPECIAL_TOKENS.Unigram;
  const tokens = wordPieces
    .slice(special.length)
    .map((piece) => (piece.startsWith('##') ? piece.slice(2) : `▁${piece}`));
  return tokenizerOf('Unigram', [...special, ...tokens], { type: 'Lowercase' });
}

function tokenizerOf(kind: TokenizerKind, tokens: readonly string[], normalizer: Config | null): string {
  const isUnigram = kind === 'Unigram';
  const model = isUnigram
    ? { type: 'Unigram', unk_id: 3, vocab: tokens.map((token, id) => [token, -(id % 7) - 8]) }
    : {
        type: 'WordPiece',
        unk_token: '[UNK]',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      };
  return JSON.stringify({
    version: '1.0',
    added_tokens: [],
    normalizer,
    pre_tokenizer: isUnigram
      ? { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true }
      : { type: 'BertPreTokenizer' },
    post_processor: isUnigram ? framed(['<s>', 0], ['</s>', 2]) : framed(['[CLS]', 2], ['[SEP]', 3]),
    decoder: null,
    model,
  });
}

/** As tokenizer_config.json names them. */
function specialTokensOf(tokenizer: string): Config {
  const { model } = JSON.parse(tokenizer) as { readonly model: { readonly type: TokenizerKind } };
  return model.type === 'Unigram'
    ? { cls_token: '<s>', sep_token: '</s>', pad_token: '<pad>', unk_token: '<unk>' }
    : { cls_token: '[CLS]', sep_token: '[SEP]', pad_token: '[PAD]', unk_token: '[UNK]' };
}

// On disk, as `fetch` leaves it.

const BYTES: Readonly<Record<Dtype, number>> = { F32: 4, F16: 2, BF16: 2 };
const BLOCK = 1 << 20;

/** Numbers between −0.03 and 0.03, over and over: as files are written, and never as many as one holds. */
function blockOf(dtype: Dtype): Buffer {
  const random = seededRandom(17);
  const values = Float32Array.from({ length: BLOCK }, () => (random() - 0.5) * 0.06);
  if (dtype === 'F32') return Buffer.from(values.buffer);
  const halves = new Uint16Array(BLOCK);
  const bits = new Uint32Array(values.buffer);
  for (let index = 0; index < BLOCK; index++) {
    const word = bits[index]!;
    // Not subnormal in float16: what is that small becomes 0.
    const exponent = ((word >>> 23) & 255) - 112;
    const half = exponent <= 0 ? 0 : (exponent << 10) | ((word >>> 13) & 1023);
    halves[index] = dtype === 'BF16' ? word >>> 16 : ((word >>> 16) & 0x8000) | half;
  }
  return Buffer.from(halves.buffer);
}

const bytesOf = (shape: readonly number[], dtype: Dtype): number =>
  shape.reduce((product, dim) => product * dim, BYTES[dtype]);

/** One, little-endian. */
const ONE: Readonly<Record<Dtype, readonly number[]>> = { F32: [0, 0, 0x80, 0x3f], F16: [0, 0x3c], BF16: [0x80, 0x3f] };

/** What multiplies normed rows is one, else vectors would hardly depend on the text. Gemma adds one by itself. */
const isOne = (name: string, { model_type: type }: Config): boolean =>
  /norm\.weight$/i.test(name) && type !== 'gemma3_text';

/** Writes block by block: a file may be larger than a process may be. */
async function writeSafetensors(path: string, { shapes, dtype, config }: MadeModel): Promise<void> {
  let length = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const start = length;
    length += bytesOf(shape, dtype);
    return [name, { dtype, shape, data_offsets: [start, length] as const }] as const;
  });
  const text = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  const file = await open(path, 'w');
  try {
    await file.write(Buffer.concat([size, header]));
    const block = blockOf(dtype);
    for (let left = length; left > 0; left -= block.length) await file.write(block.subarray(0, left));
    for (const [, { data_offsets: offsets }] of entries.filter(([name]) => isOne(name, config))) {
      const [start, end] = offsets;
      const ones = Buffer.alloc(end - start, Uint8Array.from(ONE[dtype]));
      await file.write(ones, 0, ones.length, size.length + header.length + start);
    }
  } finally {
    await file.close();
  }
}

/** The tensors in as many files as there are, and the index that names the file of each. */
async function writeShards(folder: string, model: MadeModel, shards: number): Promise<void> {
  const { shapes } = model;
  const names = Object.keys(shapes);
  const fileOf = (shard: number): string => `model-0000${shard + 1}-of-0000${shards}.safetensors`;
  const shardOf = (index: number): number => Math.floor((index * shards) / names.length);
  for (let shard = 0; shard < shards; shard++) {
    const own = names.filter((_, index) => shardOf(index) === shard).map((name) => [name, shapes[name]!] as const);
    await writeSafetensors(join(folder, fileOf(shard)), { ...model, shapes: Object.fromEntries(own) });
  }
  const map = Object.fromEntries(names.map((name, index) => [name, fileOf(shardOf(index))]));
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
}

const MADE_POOLINGS = ['cls_token', 'mean_tokens', 'lasttoken'] as const;
export type MadePooling = (typeof MADE_POOLINGS)[number];

export interface MadeFiles {
  /** As JSON. */
  readonly tokenizer: string;
  /** Default: of all tokens the mean. */
  readonly pooling?: MadePooling;
  /** Default 1: no index. */
  readonly shards?: number;
}

export const MADE_REVISION = 'b'.repeat(40);

/** Returns the snapshot's folder. */
export async function writeMadeModel(store: string, model: MadeModel, files: MadeFiles): Promise<string> {
  const { tokenizer, pooling = 'mean_tokens', shards = 1 } = files;
  const folder = join(store, `models--${model.id.replace('/', '--')}`);
  const snapshot = join(folder, 'snapshots', MADE_REVISION);
  await mkdir(join(folder, 'refs'), { recursive: true });
  await mkdir(join(snapshot, '1_Pooling'), { recursive: true });
  const json: Readonly<Record<string, unknown>> = {
    'config.json': model.config,
    'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast', ...specialTokensOf(tokenizer) },
    'sentence_bert_config.json': { max_seq_length: model.maxTokens },
    '1_Pooling/config.json': {
      word_embedding_dimension: model.config['hidden_size'] ?? model.config['d_model'],
      ...Object.fromEntries(MADE_POOLINGS.map((one) => [`pooling_mode_${one}`, one === pooling])),
    },
    'modules.json': [
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
    ],
  };
  for (const [name, value] of Object.entries(json)) await writeFile(join(snapshot, name), JSON.stringify(value));
  await writeFile(join(snapshot, 'tokenizer.json'), tokenizer);
  if (shards > 1) await writeShards(snapshot, model, shards);
  else await writeSafetensors(join(snapshot, 'model.safetensors'), model);
  await writeFile(join(folder, 'refs', 'main'), MADE_REVISION);
  return snapshot;
}
