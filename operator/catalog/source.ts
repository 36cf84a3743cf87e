// Where the list of supported models comes from: a ConfigMap on a cluster, a file in local mode. Types only.

export interface CatalogText {
  /** Label value on the EmbeddingModels made from it, and what messages call it. */
  readonly name: string;
  /** What a person edits, for messages: `ConfigMap kubembed/kubembed-catalog` or a path. */
  readonly origin: string;
  readonly text: string;
  /** Namespace in which the EmbeddingModels are made. */
  readonly namespace: string;
}

export interface CatalogSource {
  /** Undefined until first read, and while the list does not exist: nothing is then pruned, started or refused. */
  readonly current: () => CatalogText | undefined;
  /** Calls back after every change; returns how to stop that. */
  readonly subscribe: (changed: () => void) => () => void;
}
