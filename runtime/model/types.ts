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

/** A `Dense` module of sentence-transformers, applied to the pooled vector. */
export interface DenseLayer {
  /** Its folder, e.g. `2_Dense`; its tensors are `2_Dense/linear.weight` and `.bias`. */
  readonly path: string;
  readonly outFeatures: number;
  /** By the names of transformers' ACT2FN; undefined for the identity. */
  readonly activation?: string;
}

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
  /** Dense modules of modules.json, in order; none when omitted. */
  readonly denseLayers?: readonly DenseLayer[];
  /** Kinds of modules of modules.json that no graph computes. */
  readonly unsupportedModules?: readonly string[];
  /** The whole config.json, for the graph builder. */
  readonly config: Readonly<Record<string, unknown>>;
}
