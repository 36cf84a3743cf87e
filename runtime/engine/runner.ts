// Runs token lists through a session: kubembed's own graph, or a repository's ONNX file with padding and pooling around it.
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { distinctTokens, feedsFor } from '../graph/layout.ts';
import type { FeedPlan, Feeds } from '../graph/layout.ts';
import { EngineError } from './contract.ts';
import type { Pooling } from '../model/modules.ts';
import { normalize } from './json.ts';
import { pooledWidth, poolTokens } from './pooling.ts';
import { createSession } from './session.ts';
import type { Feed, Output, Session, SessionModel, SessionSettings } from './session.ts';

/** A graph that kubembed has built, over the weights as they lie in the store. */
export interface GraphModel {
  readonly kind: 'graph';
  readonly bytes: Uint8Array;
  readonly weightFolder: string;
  readonly outputName: string;
  readonly plan: FeedPlan;
  /** Set where runs are fed the token embeddings that they need. */
  readonly tokenEmbeddings: EmbeddingTable | undefined;
}

/**
 * A graph whose weights a session has written out as its kernels want them. Sessions that map this file share its pages; a
 * session made from the graph itself holds a copy of its own.
 */
export interface PreparedModel extends Pick<GraphModel, 'outputName' | 'plan' | 'tokenEmbeddings'> {
  readonly kind: 'prepared';
  readonly path: string;
}

/** A repository's own ONNX file: padded, masked, pooled outside of the graph. */
export interface FileModel {
  readonly kind: 'file';
  readonly path: string;
  /** Where tensors lie beside the file: the graph with their files' names below the folder. */
  readonly data?: { readonly bytes: Uint8Array; readonly weightFolder: string } | undefined;
  readonly pooling: Pooling;
  /** An output that is the text's vector already. */
  readonly vectorOutput?: string | undefined;
  /** What pools and goes on, where there are modules behind the pooling. */
  readonly tail?: Tail | undefined;
}

export type Tail = Pick<GraphModel, 'bytes' | 'weightFolder' | 'outputName' | 'plan'>;

export type RunnableModel = GraphModel | PreparedModel | FileModel;

export interface Vectors {
  /** `[texts, dimensions]`, each row of unit length. */
  readonly data: Float32Array;
  readonly dimensions: number;
  readonly paddedTokens: number;
}

export interface Runner {
  /** `skips`: tokens at the beginning of each text that are a prompt's, for poolings that leave prompts out. */
  run(texts: readonly Int32Array[], skips?: Int32Array): Promise<Vectors>;
  /** Gives its memory back. */
  close(): Promise<void>;
}

export const createRunner = (model: RunnableModel, settings: SessionSettings): Promise<Runner> =>
  model.kind === 'file' ? fileRunner(model, settings) : graphRunner(model, settings);

// kubembed's own graphs, prepared or not.

const sessionModel = (model: GraphModel | PreparedModel): SessionModel =>
  model.kind === 'graph'
    ? { model: model.bytes, weightFolder: model.weightFolder }
    : { model: model.path, prepared: true };

async function graphRunner(model: GraphModel | PreparedModel, settings: SessionSettings): Promise<Runner> {
  const session = await createSession(sessionModel(model), settings);
  const embeddings = model.tokenEmbeddings && openEmbeddings(model.tokenEmbeddings);
  const feeds = (texts: readonly Int32Array[], skips?: Int32Array): Feeds => {
    const plain = feedsFor(texts, model.plan, skips);
    return embeddings === undefined ? plain : withEmbeddings(plain, embeddings);
  };
  return {
    async run(texts, skips) {
      const { data, dims } = await session.run(feeds(texts, skips), model.outputName);
      return { data, dimensions: dims[1] ?? 0, paddedTokens: 0 };
    },
    async close() {
      embeddings?.close();
      await session.release();
    },
  };
}

const PREPARED_WEIGHTS = 'weights.bin';

/** What `prepareModel` leaves in a folder: the graph, and beside it the weights as ONNX Runtime's kernels want them. */
export const preparedIn = (folder: string, { outputName, plan, tokenEmbeddings }: GraphModel): PreparedModel => ({
  kind: 'prepared',
  path: join(folder, 'model.onnx'),
  outputName,
  plan,
  tokenEmbeddings,
});

/** Has a session write the model out as its kernels want it. */
export async function prepareModel(
  model: GraphModel,
  settings: SessionSettings,
  folder: string,
): Promise<PreparedModel> {
  const prepared = preparedIn(folder, model);
  const saveTo = { modelPath: prepared.path, weightsName: PREPARED_WEIGHTS };
  const session = await createSession({ ...sessionModel(model), saveTo }, settings);
  await session.release();
  return prepared;
}

// Token embeddings, read out of the weight file as runs need them: sessions that each mapped the table would each count it
// as theirs.

/** Rows of float32, little-endian as safetensors has them. */
export interface EmbeddingTable {
  readonly path: string;
  /** Of the first row, from the start of the file. */
  readonly byteOffset: number;
  readonly rows: number;
  readonly width: number;
}

export interface EmbeddingReader {
  readonly width: number;
  /** `[tokens, width]`, valid until the next read. */
  read(tokens: Int32Array): Float32Array;
  close(): void;
}

/** Kept of the rows that were read last: a language uses few of its tokens most of the time. */
const KEPT_BYTES = 3 << 20;

/**
 * The file is read through the page cache, which all processes of a machine share and which the kernel takes back when it must.
 * A thread that ends closes it, too.
 */
export function openEmbeddings({ path, byteOffset, rows, width }: EmbeddingTable): EmbeddingReader {
  const file = openSync(path, 'r');
  const rowBytes = width * Float32Array.BYTES_PER_ELEMENT;
  const places = Math.min(rows, Math.max(1, Math.floor(KEPT_BYTES / rowBytes)));
  const kept = new Float32Array(places * width);
  const keptBytes = new Uint8Array(kept.buffer);
  /** Every token has one place where its row may be kept, and shares it with others. */
  const tokenAt = new Int32Array(places).fill(-1);
  let asked = new Float32Array(0);

  function keep(token: number): number {
    const place = token % places;
    if (tokenAt[place] === token) return place;
    if (token < 0 || token >= rows) throw new EngineError('worker_failed', `There is no token ${token} of ${rows}.`);
    tokenAt[place] = -1;
    const read = readSync(file, keptBytes, place * rowBytes, rowBytes, byteOffset + token * rowBytes);
    if (read < rowBytes) throw new EngineError('worker_failed', `${path} ends before the row of token ${token}.`);
    tokenAt[place] = token;
    return place;
  }

  return {
    width,
    read(tokens) {
      if (asked.length < tokens.length * width) asked = new Float32Array(tokens.length * width);
      for (const [index, token] of tokens.entries()) {
        const from = keep(token) * width;
        asked.set(kept.subarray(from, from + width), index * width);
      }
      return asked.subarray(0, tokens.length * width);
    },
    close: () => closeSync(file),
  };
}

/** The rows that these texts need, and ids that count those. */
function withEmbeddings({ input_ids: ids, ...others }: Feeds, embeddings: EmbeddingReader): Feeds {
  if (ids?.type !== 'int32') throw new TypeError('a graph that is fed token embeddings takes int32 ids');
  const { places, tokens } = distinctTokens(ids.data);
  return {
    ...others,
    input_ids: { ...ids, data: places },
    token_embeddings: { type: 'float32', data: embeddings.read(tokens), dims: [tokens.length, embeddings.width] },
  };
}

// A repository's own file.

/** The input of a tail: `buildTail` calls it so. Workers do not load what builds graphs. */
const TOKEN_VECTORS = 'token_vectors';

const TOKEN_OUTPUTS = ['last_hidden_state', 'token_embeddings'];

function tokenOutputOf(session: Session): string {
  const name = TOKEN_OUTPUTS.find((candidate) => session.outputNames.includes(candidate));
  if (name !== undefined) return name;
  throw new TypeError(
    `the ONNX file gives ${session.outputNames.join(', ')}; one of ${TOKEN_OUTPUTS.join(', ')} is needed`,
  );
}

async function fileRunner(model: FileModel, settings: SessionSettings): Promise<Runner> {
  const { path, data, vectorOutput, tail } = model;
  const session = await createSession(
    data ? { model: data.bytes, weightFolder: data.weightFolder } : { model: path },
    settings,
  );
  const tailSession = tail && (await createSession({ model: tail.bytes, weightFolder: tail.weightFolder }, settings));
  const outputName = vectorOutput ?? tokenOutputOf(session);
  return {
    async run(texts, skips) {
      const longest = texts.reduce((most, { length }) => Math.max(most, length), 0);
      const tokens = texts.reduce((sum, { length }) => sum + length, 0);
      const output = await session.run(paddedFeeds(texts, longest, session.inputNames), outputName);
      const paddedTokens = texts.length * longest - tokens;
      if (vectorOutput !== undefined) return { ...unitRows(output, texts.length), paddedTokens };
      if (tail === undefined || tailSession === undefined) {
        return { ...poolOutside(output, texts, model.pooling, skips), paddedTokens };
      }
      const feeds = { ...feedsFor(texts, tail.plan, skips), [TOKEN_VECTORS]: withoutPadding(output, texts, tokens) };
      const { data: vectors, dims } = await tailSession.run(feeds, tail.outputName);
      return { data: vectors, dimensions: dims[1] ?? 0, paddedTokens };
    },
    async close() {
      await tailSession?.release();
      await session.release();
    },
  };
}

function unitRows({ data, dims }: Output, texts: number): Omit<Vectors, 'paddedTokens'> {
  const dimensions = dims[1] ?? 0;
  for (let text = 0; text < texts; text++) normalize(data.subarray(text * dimensions, (text + 1) * dimensions));
  return { data, dimensions };
}

/** Token vectors `[texts, longest, width]` → those of real tokens, `[tokens, width]`. */
function withoutPadding({ data, dims }: Output, texts: readonly Int32Array[], tokens: number): Feed {
  const [, longest = 0, width = 0] = dims;
  const rows = new Float32Array(tokens * width);
  let row = 0;
  for (const [text, { length }] of texts.entries()) {
    const start = text * longest * width;
    rows.set(data.subarray(start, start + length * width), row * width);
    row += length;
  }
  return { type: 'float32', data: rows, dims: [tokens, width] };
}

const int64 = (data: BigInt64Array, dims: readonly number[]): Feed => ({ type: 'int64', data, dims });

/** The three inputs of transformers' exports, padded at the end. */
function paddedFeeds(texts: readonly Int32Array[], longest: number, inputNames: readonly string[]) {
  const dims = [texts.length, longest];
  const ids = new BigInt64Array(texts.length * longest);
  const mask = new BigInt64Array(texts.length * longest);
  for (const [text, tokens] of texts.entries()) {
    for (const [position, id] of tokens.entries()) ids[text * longest + position] = BigInt(id);
    mask.fill(1n, text * longest, text * longest + tokens.length);
  }
  const makers: Readonly<Record<string, () => Feed>> = {
    input_ids: () => int64(ids, dims),
    attention_mask: () => int64(mask, dims),
    token_type_ids: () => int64(new BigInt64Array(ids.length), dims),
  };
  const feeds: Record<string, Feed> = {};
  for (const name of inputNames) {
    const make = makers[name];
    if (!make) throw new TypeError(`the ONNX file wants an input ${name} that kubembed does not know`);
    feeds[name] = make();
  }
  return feeds;
}

/** Token vectors `[texts, longest, width]` → unit vectors `[texts, width × modes]`. */
function poolOutside(
  { data, dims }: Output,
  texts: readonly Int32Array[],
  pooling: Pooling,
  skips: Int32Array | undefined,
): Omit<Vectors, 'paddedTokens'> {
  const [, longest = 0, width = 0] = dims;
  const size = pooledWidth(width, pooling);
  const pooled = new Float32Array(texts.length * size);
  for (const [text, tokens] of texts.entries()) {
    const start = text * longest * width;
    const from = pooling.includePrompt ? 0 : (skips?.[text] ?? 0);
    const vector = pooled.subarray(text * size, (text + 1) * size);
    poolTokens({ data: data.subarray(start, start + tokens.length * width), width, from }, pooling, vector);
    normalize(vector);
  }
  return { data: pooled, dimensions: size };
}
