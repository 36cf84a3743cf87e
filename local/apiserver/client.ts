// KubeClient over an ApiStore: pages, watches, abort signals — what a connection would add to the verbs.
import type { KubeClient, ListOptions, WatchOptions } from '../../kube/client.ts';
import { formatKey, keyOf } from '../../kube/types.ts';
import type { KubeList, KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import { badRequest } from './store.ts';
import type { ApiStore } from './store.ts';
import { expired, selects, watchStore } from './watch.ts';

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
