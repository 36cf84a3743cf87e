// ApiStore: a small API server in memory — the verbs and their rules; synchronous, knows no transport.
import { isDeepStrictEqual } from 'node:util';
import { rfc3339 } from '../../common/util/text.ts';
import { ApiError } from '../../kube/client.ts';
import type {
  ApplyBody,
  ApplyOptions,
  DeleteOptions,
  PatchOptions,
  KubeClient,
  ListOptions,
  WatchOptions,
} from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import { apiVersionOf, targetKey, typeName, formatKey, keyOf } from '../../kube/types.ts';
import type { KubeObject, ObjectKey, ObjectMeta, ResourceType, KubeList, WatchEvent } from '../../kube/types.ts';
import { applyFields, fieldsOf, mergePatch, recordUpdate, without } from './fields.ts';
import type { Fields } from './fields.ts';
import { conflict, notFound, Registry } from './registry.ts';
import type { Stored } from './registry.ts';
import { expired, selects, watchStore } from './watch.ts';
import type { History } from './watch.ts';

/** A type's own rules, a CRD's say: causes to refuse a write; empty: it is fine. Not asked for status writes. */
export type Validate = (object: KubeObject, old: KubeObject | undefined) => readonly string[];

export interface StoreOptions {
  readonly clock: Clock;
  readonly newUid: () => string;
  /** By `plural.group`, see `typeName`. */
  readonly validate?: Readonly<Record<string, Validate>>;
  /** Changes of a type that a watch can reach back to, at least. */
  readonly historyLimit?: number;
}

type Subresource = 'status' | undefined;

const DEFAULT_HISTORY = 1024;
const DEFAULT_MANAGER = 'unknown';

const asFields = (object: object): Fields => object as Fields;
const managerId = (name: string, subresource: Subresource): string => (subresource ? `${name}/${subresource}` : name);
const updaterId = ({ fieldManager = DEFAULT_MANAGER, subresource }: PatchOptions): string =>
  `${managerId(fieldManager, subresource)}:Update`;

export class ApiStore {
  readonly clock: Clock;
  private readonly options: StoreOptions;
  private readonly registry: Registry;

  constructor(options: StoreOptions) {
    this.options = options;
    this.clock = options.clock;
    this.registry = new Registry(options.historyLimit ?? DEFAULT_HISTORY);
  }

  resourceVersion(): string {
    return this.registry.resourceVersion();
  }

  history(type: ResourceType): History {
    return this.registry.history(type);
  }

  get(type: ResourceType, key: ObjectKey): KubeObject {
    return this.registry.get(type, key).object;
  }

  list(type: ResourceType): readonly KubeObject[] {
    return this.registry.list(type);
  }

  create(type: ResourceType, body: KubeObject, options: PatchOptions = {}): KubeObject {
    const key = targetKey(type, body.metadata);
    if (this.registry.find(type, key)) throw alreadyExists(type, key.name);
    const object = this.admitted(type, this.initial(type, key, asFields(toWire(body))));
    const managers = recordUpdate({}, asFields(object), new Map(), updaterId(options));
    return this.registry.save(type, { object, managers });
  }

  replace(type: ResourceType, body: KubeObject, options: PatchOptions = {}): KubeObject {
    const current = this.registry.get(type, targetKey(type, body.metadata));
    const { name, resourceVersion, uid } = body.metadata;
    if (resourceVersion === undefined) {
      throw invalid(type, name, ['metadata.resourceVersion: must be specified for an update']);
    }
    checkPreconditions(type, current, { resourceVersion, uid });
    return this.update(type, current, asFields(toWire(body)), options);
  }

  patch(type: ResourceType, key: ObjectKey, patch: object, options: PatchOptions = {}): KubeObject {
    const current = this.registry.get(type, key);
    const body = fieldsOf(toWire(patch));
    checkPreconditions(type, current, fieldsOf(body['metadata']));
    const change = intentOf(body, options.subresource);
    return this.update(type, current, fieldsOf(mergePatch(current.object, change)), options);
  }

  apply(type: ResourceType, body: ApplyBody, options: ApplyOptions): KubeObject {
    const whole = asFields(toWire(body));
    const key = targetKey(type, body.metadata as ObjectMeta);
    const current = this.registry.find(type, key);
    if (!current && options.subresource) throw notFound(type, key.name);
    if (current && options.ifAbsent === true) throw modified(type, key.name);
    checkPreconditions(type, current, fieldsOf(whole['metadata']));
    const next = this.applied(type, key, current, { intent: intentOf(whole, options.subresource), options });
    return this.registry.save(type, next, current);
  }

  delete(type: ResourceType, key: ObjectKey, options: DeleteOptions = {}): void {
    this.registry.delete(type, key, this.now(), options);
  }

  private applied(
    type: ResourceType,
    key: ObjectKey,
    current: Stored | undefined,
    { intent, options }: { readonly intent: Fields; readonly options: ApplyOptions },
  ): Stored {
    const { fieldManager, subresource, force = false } = options;
    const live = asFields(current?.object ?? {});
    const managers = current?.managers ?? new Map();
    const result = applyFields(live, managers, managerId(fieldManager, subresource), intent);
    if (result.conflicts.length > 0 && !force) throw conflict(type, key.name, result.conflicts.join(', '));
    const object = current
      ? successor(current.object, result.object, subresource)
      : this.initial(type, key, result.object);
    return { object: this.admitted(type, object, current?.object, subresource), managers: result.managers };
  }

  private update(type: ResourceType, current: Stored, next: Fields, options: PatchOptions): KubeObject {
    const { name } = current.object.metadata;
    if (fieldsOf(next['metadata'])['name'] !== name) throw badRequest(`the name of the object does not match: ${name}`);
    const { subresource } = options;
    const object = this.admitted(type, successor(current.object, next, subresource), current.object, subresource);
    const managers = recordUpdate(asFields(current.object), asFields(object), current.managers, updaterId(options));
    return this.registry.save(type, { object, managers }, current);
  }

  private admitted(type: ResourceType, object: KubeObject, old?: KubeObject, subresource?: Subresource): KubeObject {
    const causes = subresource === 'status' ? [] : (this.options.validate?.[typeName(type)]?.(object, old) ?? []);
    if (causes.length > 0) throw invalid(type, object.metadata.name, causes);
    return object;
  }

  private initial(type: ResourceType, key: ObjectKey, object: Fields): KubeObject {
    return firstVersion(type, key, object, { uid: this.options.newUid(), creationTimestamp: this.now() });
  }

  private now(): string {
    return rfc3339(this.clock.now());
  }
}

/** The part of a write's body that its subresource lets through. */
function intentOf(body: Fields, subresource: Subresource): Fields {
  return subresource === 'status' ? { status: body['status'] ?? {} } : without(body, ['status']);
}

function checkPreconditions(type: ResourceType, current: Stored | undefined, expected: Fields): void {
  for (const field of ['uid', 'resourceVersion'] as const) {
    const value = expected[field];
    if (value === undefined || value === current?.object.metadata[field]) continue;
    throw modified(type, current?.object.metadata.name ?? '');
  }
}

/** What survives the wire: `undefined` members vanish, as in a real request. */
const toWire = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

// What the server alone decides about an object: identity, generation, and which parts a write may touch

/** Everything whose change is a new generation. */
const intent = (object: Fields): Fields => without(object, ['metadata', 'status', 'apiVersion', 'kind']);

interface Identity {
  readonly uid: string;
  readonly creationTimestamp: string;
}

/** A new object; its status is not the creator's to set. */
function firstVersion(type: ResourceType, key: ObjectKey, object: Fields, identity: Identity): KubeObject {
  const metadata = {
    ...without(fieldsOf(object['metadata']), ['deletionTimestamp', 'resourceVersion', 'managedFields', 'namespace']),
    name: key.name,
    ...(key.namespace === '' ? {} : { namespace: key.namespace }),
    ...identity,
    generation: 1,
  };
  return { ...without(object, ['status']), apiVersion: apiVersionOf(type), kind: type.kind, metadata };
}

/** `next` as it may follow `current`: a status write changes status alone, any other write all but status. */
function successor(current: KubeObject, next: Fields, subresource: Subresource): KubeObject {
  const { name, uid, creationTimestamp, namespace, deletionTimestamp, generation = 1 } = current.metadata;
  const old: Fields = { ...current };
  if (subresource === 'status') {
    const rest = without(old, ['status']);
    return ('status' in next ? { ...rest, status: next['status'] } : rest) as unknown as KubeObject;
  }
  const changed = !isDeepStrictEqual(intent(old), intent(next));
  const metadata = {
    ...without(fieldsOf(next['metadata']), ['managedFields', 'resourceVersion', 'deletionTimestamp', 'namespace']),
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid,
    creationTimestamp,
    generation: changed ? generation + 1 : generation,
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  };
  return {
    ...without(next, ['status']),
    apiVersion: current.apiVersion,
    kind: current.kind,
    metadata,
    ...('status' in old ? { status: old['status'] } : {}),
  } as KubeObject;
}

// The failures of the verbs, as an API server words them

const alreadyExists = (type: ResourceType, name: string): ApiError =>
  new ApiError({ status: 409, reason: 'AlreadyExists', message: `${typeName(type)} "${name}" already exists` });

const modified = (type: ResourceType, name: string): ApiError =>
  conflict(type, name, 'the object has been modified; please apply your changes to the latest version and try again');

const invalid = (type: ResourceType, name: string, causes: readonly string[]): ApiError =>
  new ApiError({
    status: 422,
    reason: 'Invalid',
    message: `${type.kind}${type.group ? `.${type.group}` : ''} "${name}" is invalid: ${causes.join(', ')}`,
  });

export const badRequest = (message: string): ApiError => new ApiError({ status: 400, reason: 'BadRequest', message });

// KubeClient over an ApiStore: pages, watches, abort signals — what a connection would add to the verbs.

export function createStoreClient(store: ApiStore): KubeClient {
  // Types are a promise of the caller's resource table here, exactly as over the wire.
  const call = async <T>(options: { readonly signal?: AbortSignal } | undefined, verb: () => unknown): Promise<T> => {
    options?.signal?.throwIfAborted();
    await Promise.resolve();
    return verb() as T;
  };
  return {
    get: async (type, key, options) => await call(options, () => store.get(type, key)),
    list: async (type, options = {}) => await call(options, () => listPage(store, type, options)),
    watch: <T extends KubeObject>(type: ResourceType<T>, options: WatchOptions) =>
      watchStore(store, type, options) as AsyncIterable<WatchEvent<T>>,
    create: async (type, object, options) => await call(options, () => store.create(type, object)),
    replace: async (type, object, options) => await call(options, () => store.replace(type, object)),
    apply: async (type, object, options) => await call(options, () => store.apply(type, object, options)),
    patch: async (type, key, patch, options = {}) => await call(options, () => store.patch(type, key, patch, options)),
    delete: async (type, key, options) => await call(options, () => store.delete(type, key, options)),
  };
}

interface Continue {
  readonly resourceVersion: string;
  readonly after: string;
}

const encode = (token: Continue): string => Buffer.from(JSON.stringify(token)).toString('base64url');

function decode(token: string): Continue {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString()) as Continue;
  } catch {
    throw badRequest(`continue key is not valid: ${token}`);
  }
}

/**
 * Later pages show the present, not the first page's moment, under the first page's resourceVersion: a watch from there
 * replays what changed between, so a reader ends up right.
 */
function listPage(store: ApiStore, type: ResourceType, options: ListOptions): KubeList<KubeObject> {
  const from = options.continue === undefined ? undefined : decode(options.continue);
  const resourceVersion = from?.resourceVersion ?? store.resourceVersion();
  const oldest = store.history(type).oldest();
  if (Number(resourceVersion) < oldest) throw expired(resourceVersion, oldest);
  const selected = store
    .list(type)
    .filter(selects(options))
    .filter((object) => from === undefined || formatKey(keyOf(object)) > from.after);
  const items = options.limit === undefined || options.limit === 0 ? selected : selected.slice(0, options.limit);
  const last = items.at(-1);
  if (items.length === selected.length || !last) return { metadata: { resourceVersion }, items };
  return { metadata: { resourceVersion, continue: encode({ resourceVersion, after: formatKey(keyOf(last)) }) }, items };
}
