// Runs token lists through a session: kubembed's own graph, or a repository's ONNX file with padding and pooling around it.
import { readFile } from 'node:fs/promises';
import { distinctTokens, feedsFor } from '../graph/feeds.ts';
import type { Feeds } from '../graph/feeds.ts';
import { createSession } from './session.ts';
import { PREPARED_WEIGHTS, preparedIn, preparedModelPath } from './prepared.ts';
import type { FileSource, GraphSource, ModelSource, PreparedSource } from './protocol.ts';
import type { Feed, Output, Session, SessionSettings, SessionSource } from './session.ts';
import { openWordRows } from './word-rows.ts';
import type { WordRows } from './word-rows.ts';

export interface Vectors {
  /** `[texts, dimensions]`, each row of unit length. */
  readonly data: Float32Array;
  readonly dimensions: number;
  readonly paddedTokens: number;
}

export interface Runner {
  run(texts: readonly Int32Array[]): Promise<Vectors>;
  /** Gives its memory back. */
  close(): Promise<void>;
}

const sessionSource = (source: GraphSource | PreparedSource): SessionSource =>
  source.kind === 'graph'
    ? { model: source.bytes, weightFolder: source.weightFolder }
    : { model: source.path, prepared: true };

/** Has a session write the model out as its kernels want it. */
export async function prepareModel(source: GraphSource, settings: SessionSettings, folder: string) {
  const saveTo = { modelPath: preparedModelPath(folder), weightsName: PREPARED_WEIGHTS };
  const session = await createSession({ ...sessionSource(source), saveTo }, settings);
  await session.release();
  return preparedIn(folder, source);
}

/** The rows that these texts need, and ids that count those. */
function withTokenEmbeddings({ input_ids: ids, ...others }: Feeds, rows: WordRows): Feeds {
  if (ids?.type !== 'int32') throw new TypeError('a graph that is fed token embeddings takes int32 ids');
  const { places, tokens } = distinctTokens(ids.data);
  return {
    ...others,
    input_ids: { ...ids, data: places },
    token_embeddings: { type: 'float32', data: rows.read(tokens), dims: [tokens.length, rows.width] },
  };
}

async function graphRunner(source: GraphSource | PreparedSource, settings: SessionSettings): Promise<Runner> {
  const session = await createSession(sessionSource(source), settings);
  const rows = source.tokenEmbeddings && openWordRows(source.tokenEmbeddings);
  const feeds = (texts: readonly Int32Array[]): Feeds => {
    const plain = feedsFor(texts, source.plan);
    return rows === undefined ? plain : withTokenEmbeddings(plain, rows);
  };
  return {
    async run(texts) {
      const { data, dims } = await session.run(feeds(texts), source.outputName);
      return { data, dimensions: dims[1] ?? 0, paddedTokens: 0 };
    },
    async close() {
      rows?.close();
      await session.release();
    },
  };
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

function normalize(vector: Float32Array): void {
  let squares = 0;
  for (const value of vector) squares += value * value;
  const norm = Math.sqrt(squares);
  for (let index = 0; index < vector.length; index++) vector[index] = (vector[index] ?? NaN) / norm;
}

/** Token vectors `[texts, longest, width]` → unit vectors `[texts, width]`. */
export function poolOutside(
  { data, dims }: Output,
  texts: readonly Int32Array[],
  pooling: 'mean' | 'cls',
): Float32Array {
  const [, longest = 0, width = 0] = dims;
  const pooled = new Float32Array(texts.length * width);
  for (const [text, tokens] of texts.entries()) {
    const vector = pooled.subarray(text * width, (text + 1) * width);
    const counted = pooling === 'cls' ? 1 : tokens.length;
    for (let position = 0; position < counted; position++) {
      const start = (text * longest + position) * width;
      for (let index = 0; index < width; index++) vector[index] = (vector[index] ?? 0) + (data[start + index] ?? NaN);
    }
    normalize(vector);
  }
  return pooled;
}

const TOKEN_OUTPUTS = ['last_hidden_state', 'token_embeddings'];

function tokenOutputOf(session: Session): string {
  const name = TOKEN_OUTPUTS.find((candidate) => session.outputNames.includes(candidate));
  if (name !== undefined) return name;
  throw new TypeError(
    `the ONNX file gives ${session.outputNames.join(', ')}; one of ${TOKEN_OUTPUTS.join(', ')} is needed`,
  );
}

async function fileRunner(source: FileSource, settings: SessionSettings): Promise<Runner> {
  const externalData = source.dataPath
    ? [{ path: 'model.onnx_data', data: new Uint8Array(await readFile(source.dataPath)) }]
    : undefined;
  const session = await createSession({ model: source.path, ...(externalData && { externalData }) }, settings);
  const outputName = tokenOutputOf(session);
  return {
    async run(texts) {
      const longest = texts.reduce((most, { length }) => Math.max(most, length), 0);
      const tokens = texts.reduce((sum, { length }) => sum + length, 0);
      const output = await session.run(paddedFeeds(texts, longest, session.inputNames), outputName);
      return {
        data: poolOutside(output, texts, source.pooling),
        dimensions: output.dims[2] ?? 0,
        paddedTokens: texts.length * longest - tokens,
      };
    },
    close: () => session.release(),
  };
}

export const createRunner = (source: ModelSource, settings: SessionSettings): Promise<Runner> =>
  source.kind === 'file' ? fileRunner(source, settings) : graphRunner(source, settings);
