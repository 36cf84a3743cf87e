// The bodies of `GET /v1/models` and `GET /v1/models/{id}`.

export interface ModelEntry {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly ownedBy?: string;
  /** Further facts, e.g. dimensions and precision; clients ignore keys they do not know. */
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface ModelObject {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly [detail: string]: unknown;
}

export interface ModelList {
  readonly object: 'list';
  readonly data: readonly ModelObject[];
}

/** Without an owner it is the organisation in the id. */
export function modelObject({ id, created, ownedBy, details }: ModelEntry): ModelObject {
  const organisation = id.includes('/') ? id.slice(0, id.indexOf('/')) : 'kubembed';
  return { ...details, id, object: 'model', created: Math.floor(created), owned_by: ownedBy ?? organisation };
}

export function modelList(entries: readonly ModelEntry[]): ModelList {
  return { object: 'list', data: entries.map(modelObject) };
}
