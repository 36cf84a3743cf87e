// The product as the twins' tests use it: all that they import of it is here. A twin in a store → vectors, or the reason of a refusal.
import { assess } from '../../cli/assess.ts';
import { repositoryInStore } from '../../cli/repository.ts';
import { createEngine } from '../../runtime/engine/engine.ts';
import { chooseModel, tokenizerOptions } from '../../runtime/engine/load.ts';
import { createRunner } from '../../runtime/engine/runner.ts';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import { promptFor } from '../../runtime/model/prompts.ts';
import { openModel } from '../../runtime/model/snapshot.ts';
import { failureOf } from '../../runtime/lifecycle.ts';
import { twinId } from './twins.ts';
import type { Twin } from './twins.ts';

export type Embed = (texts: readonly string[]) => Promise<Float32Array[]>;

export interface ServedTwin extends AsyncDisposable {
  /** By the engine, as requests are: texts of one call may share runs. */
  readonly embed: Embed;
  /** By the graph for a GPU, which lays texts one after the other, all in one run. */
  readonly embedPacked: Embed;
}

/** Rejects as the runtime's start would. */
export async function serveTwin(twin: Twin, store: string): Promise<ServedTwin> {
  const { files, description } = await openModel({
    model: twinId(twin),
    revision: 'main',
    resolvedRevision: undefined,
    store,
  });
  const choices = { files, description, pooling: 'declared', precision: 'float32' } as const;
  const engine = await createEngine({
    ...choices,
    device: 'cpu',
    threads: 1,
    memoryBytes: 2 ** 30,
    maxQueueTokens: 1e6,
  });
  const { prompts } = description;
  const prompt = promptFor(prompts, { promptName: twin.expected.vectors?.promptName });
  if (prompt === undefined) throw new Error('the twin has no such prompt');
  return {
    embed: async (inputs) => {
      const request = {
        inputs,
        prompt,
        encoding: 'base64',
        overlongInput: 'truncate',
        priority: 'interactive',
      } as const;
      const { vectors } = await engine.embed({ ...request, signal: new AbortController().signal });
      return vectors.map((json) => {
        const base64 = JSON.parse(Buffer.from(json).toString()) as string;
        return new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
      });
    },
    embedPacked: async (texts) => {
      const { model } = await chooseModel({ ...choices, layout: 'packed' });
      const tokenizer = await loadTokenizer(tokenizerOptions({ files, description }));
      const tokens = await Promise.all(texts.map(async (text) => (await tokenizer.encode(prompt + text)).ids));
      const runner = await createRunner(model, { threads: 1, device: 'cpu' });
      const skip = prompt === '' ? 0 : await tokenizer.promptTokens(prompt);
      const { data, dimensions } = await runner.run(
        tokens,
        Int32Array.from(texts, () => skip),
      );
      await runner.close();
      return texts.map((_, text) => data.subarray(text * dimensions, (text + 1) * dimensions));
    },
    [Symbol.asyncDispose]: () => engine.close(AbortSignal.abort()),
  };
}

/** What `models check` says of a twin in a store: `undefined` for yes, else the reason of its refusal. */
export async function checkTwin(twin: Pick<Twin, 'name'>, store: string): Promise<string | undefined> {
  try {
    const repository = await repositoryInStore(store, { modelId: twinId(twin), revision: 'main' });
    if (repository === undefined) return 'RevisionNotFound';
    assess(repository, { device: 'cpu', precision: 'float32', pooling: 'declared', cpus: 1 });
    return undefined;
  } catch (error) {
    return refusalOf(error).reason ?? `error: ${refusalOf(error).message}`;
  }
}

/** What an operator would read: the reason of a refusal, or `undefined` for an error that has none. */
export function refusalOf(error: unknown): { readonly reason: string | undefined; readonly message: string } {
  const { reason, message } = failureOf(error, '');
  return { reason: reason === '' ? undefined : reason, message };
}
