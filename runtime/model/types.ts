// A model as it lies on disk and what its own files say of it. Types only.

/** A complete snapshot in the store. Every path is real (symlinks resolved where ONNX Runtime needs it). */
export interface ModelFiles {
  readonly modelId: string;
  /** Commit sha of the snapshot. */
  readonly revision: string;
  /** `…/models--org--name/snapshots/<sha>`. */
  readonly snapshotDir: string;
  /** Real paths of the weight files by their name in the repository, e.g. `model.safetensors` or its shards. */
  readonly weights: ReadonlyMap<string, string>;
  /** Real path of `onnx/model.onnx`, when the repository's own graph is to be used. */
  readonly onnxModel?: string;
}

export type PoolingMode = 'mean' | 'cls';

/** What the repository's files say, merged: config.json, sentence_bert_config.json, modules.json, 1_Pooling/config.json. */
export interface ModelDescription {
  /** First of config.json's `architectures`, else derived from `model_type`. */
  readonly architecture: string;
  readonly modelType: string;
  /** Longest input in tokens, special tokens included. */
  readonly maxTokens: number;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Pooling the repository declares; undefined when it says nothing. */
  readonly declaredPooling?: string;
  /** The whole config.json, for the graph builder. */
  readonly config: Readonly<Record<string, unknown>>;
}
