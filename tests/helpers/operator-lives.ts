// The life of several models on a real API server as their users drive it, and what there is at each stage of it.
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog, systemClock } from '../../kube/clock.ts';
import { keyOf } from '../../kube/types.ts';
import { CONFIG_MAPS, PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';
import type { KubeObject, ObjectMeta, ResourceType } from '../../kube/types.ts';
import { findCondition } from '../../api/conditions.ts';
import type { Condition } from '../../api/conditions.ts';
import { ANNOTATION_HASH, FETCH_CONTAINER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { createCaches } from '../../operator/model/caches.ts';
import type { Caches } from '../../operator/model/caches.ts';
import { NAMESPACES } from '../../kube/resources.ts';
import { FETCHED_WORDS, manifest } from './builders.ts';
import type { ControlPlane } from './control-plane.ts';

/** Of one stage; long, since it matters to failures alone. */
const DEADLINE_MS = 240_000;
/** A stage is over when nothing has changed for so long. */
const QUIET_MS = 1_500;
const LOOK_EVERY_MS = 100;

/** All that is in a namespace, less what differs between two equal runs: uids, versions, times, places. */
export type Picture = Readonly<Record<string, unknown>>;

export interface World {
  readonly plane: ControlPlane;
  readonly picture: (namespace: string) => Picture;
  readonly stop: () => Promise<void>;
}

const VOLUMES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumes',
  kind: 'PersistentVolume',
  namespaced: false,
};

/** A pod whose fetching container has ended, in its words. */
function wordsOf(pod: Pod | undefined): { readonly status: Pod['status'] } | undefined {
  const [fetch] = pod?.status?.initContainerStatuses ?? [];
  const ended = fetch?.state?.terminated;
  if (ended === undefined || pod?.metadata.deletionTimestamp !== undefined) return undefined;
  const terminated = { ...ended, exitCode: 0, message: JSON.stringify(FETCHED_WORDS) };
  return { status: { initContainerStatuses: [{ ...fetch!, name: FETCH_CONTAINER, state: { terminated } }] } };
}

/** What the kubelet would pass on from the fetching container; kwok's pods say nothing. */
function speakForPods({ plane, caches }: { readonly plane: ControlPlane; readonly caches: Caches }): void {
  const spoken = new Set<string>();
  caches.pods.onChange((_old, pod) => {
    const words = wordsOf(pod);
    if (pod === undefined || words === undefined || spoken.has(pod.metadata.uid ?? '')) return;
    const { uid = '' } = pod.metadata;
    spoken.add(uid);
    void plane.admin.patch(PODS, keyOf(pod), words, { subresource: 'status' }).catch(() => spoken.delete(uid));
  });
}

const WITHOUT = new Set([
  'lastTransitionTime',
  'lastUpdateTime',
  'clusterIP',
  'clusterIPs',
  'volumeName',
  'scalingDecision',
]);

/** Owners by name, and as `nobody` where the one named does not exist: left to itself, such an object is garbage. */
function owners({ ownerReferences = [] }: ObjectMeta, uids: ReadonlySet<string>): readonly string[] {
  return ownerReferences.map(({ kind, name, uid }) => (uids.has(uid) ? `${kind}/${name}` : 'nobody'));
}

function portrait(object: KubeObject & { status?: object; spec?: object }, uids: ReadonlySet<string>): unknown {
  const { labels, annotations, finalizers, deletionTimestamp } = object.metadata;
  const notes = Object.fromEntries(Object.entries(annotations ?? {}).filter(([name]) => name !== ANNOTATION_HASH));
  const isModel = object.kind === EMBEDDING_MODELS.kind;
  const parts = {
    ...object,
    // Generations of others depend on how many changes came at once.
    metadata: {
      labels,
      notes,
      finalizers,
      deleting: deletionTimestamp !== undefined,
      owners: owners(object.metadata, uids),
      ...(isModel && { generation: object.metadata.generation }),
    },
    // Written by others about themselves.
    ...(!isModel && { status: undefined }),
  };
  const text = JSON.stringify(parts, (field, value: unknown) => (WITHOUT.has(field) ? undefined : value));
  // Each life has a namespace of its own, which names of releases and messages hold; which claim is meant a status says by its uid.
  const spaceless = text.replaceAll(object.metadata.namespace ?? '', 'its-namespace');
  return JSON.parse([...uids].reduce((rest, uid) => rest.replaceAll(uid, 'its-uid'), spaceless));
}

const EVERYWHERE = { models: undefined, children: undefined, informer: undefined };

export async function createWorld(plane: ControlPlane): Promise<World> {
  const stopping = new AbortController();
  const caches = createCaches(plane.admin, EVERYWHERE, {}, { clock: systemClock, random: Math.random, log: silentLog });
  speakForPods({ plane, caches });
  const running = caches.run(stopping.signal);
  await caches.whenSynced(stopping.signal);
  const stores = [caches.models, ...Object.values(caches.children)].map(({ store }) => store);
  return {
    plane,
    picture: (namespace) => {
      const here = stores.flatMap((store) => store.list()).filter(({ metadata }) => metadata.namespace === namespace);
      const uids = new Set(here.map(({ metadata }) => metadata.uid ?? ''));
      const pods = caches.pods.store.list().filter(({ metadata }) => metadata.namespace === namespace);
      return {
        ...Object.fromEntries(here.map((object) => [`${object.kind}/${object.metadata.name}`, portrait(object, uids)])),
        ...(pods.length > 0 && { pods: pods.length }),
      };
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Drives one namespace; every stage says what users do, what follows is the operator's. */
interface Stage {
  readonly name: string;
  readonly act: (namespace: string, plane: ControlPlane) => Promise<unknown>;
}

const list = async (plane: ControlPlane, namespace: string, text: string): Promise<unknown> => {
  const metadata = { name: 'kubembed-catalog', namespace };
  const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'supported_models.txt': text } };
  return await plane.admin.apply(CONFIG_MAPS, configMap, { fieldManager: 'user', force: true });
};

const volume = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: `for-${namespace}` },
  spec: {
    capacity: { storage: '1Gi' },
    accessModes: ['ReadWriteOnce'],
    storageClassName: 'prepared',
    hostPath: { path: '/nowhere' },
    claimRef: { namespace, name: 'em-full-cache' },
  },
});

const FULL: EmbeddingModelSpec = {
  model: 'org/full',
  servedNames: ['org/full'],
  replicas: 1,
  scaling: { maxReplicas: 3 },
  cache: { claim: { size: '1Gi', storageClassName: 'prepared' } },
  tokenSecretRef: { name: 'hf' },
};
const MODES = ['Background', 'Foreground', 'Orphan'] as const;
type Mode = (typeof MODES)[number];
const deleteModel = async (plane: ControlPlane, namespace: string, name: string, mode: Mode): Promise<unknown> =>
  await plane.kubectl(['delete', `em/${name}`, '-n', namespace, `--cascade=${mode.toLowerCase()}`, '--wait=false']);
/** As the list would call it: when its owner's is gone, the list's own takes the name and what is left. */
const nameIn = (mode: Mode): string => `org--${mode.toLowerCase()}`;
const modelOf = (mode: Mode): string => `org/${mode.toLowerCase()}`;
const LISTED = ['org/full', ...MODES.map(modelOf)].join('\n');

const STAGES: readonly Stage[] = [
  {
    name: 'created: a full model, three plain ones, two from the list',
    act: async (namespace, plane) => {
      await plane.admin.create(VOLUMES, volume(namespace));
      await Promise.all([
        plane.admin.create(EMBEDDING_MODELS, manifest('full', FULL, namespace)),
        ...MODES.map(
          async (mode) =>
            await plane.admin.create(
              EMBEDDING_MODELS,
              manifest(nameIn(mode), { model: modelOf(mode), servedNames: [modelOf(mode)] }, namespace),
            ),
        ),
      ]);
      await list(plane, namespace, `${LISTED}\norg/a alias=see minReplicas=1\norg/b\n`);
    },
  },
  {
    name: 'scaled through /scale',
    act: async (namespace, plane) => await plane.kubectl(['scale', 'em/full', '-n', namespace, '--replicas=2']),
  },
  {
    name: 'changed: spec of the full model, options and a line of the list',
    act: async (namespace, plane) =>
      await Promise.all([
        plane.admin.patch(EMBEDDING_MODELS, { namespace, name: 'full' }, { spec: { overlongInput: 'error' } }),
        list(plane, namespace, `${LISTED}\norg/a\n`),
      ]),
  },
  {
    name: 'deleted in every mode, and made anew by the list at once',
    act: async (namespace, plane) =>
      await Promise.all(
        MODES.map(async (mode) => {
          await deleteModel(plane, namespace, nameIn(mode), mode);
        }),
      ),
  },
  {
    name: 'gone but for one line: taken off the list, and the full model deleted',
    act: async (namespace, plane) =>
      await Promise.all([list(plane, namespace, 'org/a\n'), deleteModel(plane, namespace, 'full', 'Foreground')]),
  },
];

/** Serves, or sleeps. */
function isUp(conditions: readonly Condition[] | undefined): boolean {
  const ready = findCondition(conditions, 'Ready');
  return conditions === undefined || ready?.status === 'True' || ready?.reason === 'NotFetched';
}

/** Nothing is on its way out, and no model unseen or on its way up. */
const isSettled = (picture: Picture): boolean =>
  Object.values(picture).every((part) => {
    const { kind, metadata, status } = part as Partial<EmbeddingModel> & { metadata?: { deleting?: boolean } };
    const { conditions } = status ?? {};
    // Of an operator that is not at work yet, stillness says nothing.
    if (kind === EMBEDDING_MODELS.kind && status?.observedGeneration !== metadata?.generation) return false;
    return (
      metadata?.deleting !== true && isUp(conditions) && findCondition(conditions, 'Progressing')?.status !== 'True'
    );
  });

async function stillness(read: () => Picture): Promise<Picture> {
  const due = Date.now() + DEADLINE_MS;
  let last = read();
  let since = Date.now();
  while (Date.now() - since < QUIET_MS) {
    await sleep(LOOK_EVERY_MS);
    const next = read();
    if (Date.now() > due) throw new Error(`Never settled: ${JSON.stringify(next, undefined, 1)}`);
    if (isDeepStrictEqual(next, last) && isSettled(next)) continue;
    last = next;
    since = Date.now();
  }
  return last;
}

export async function openNamespace({ plane }: World, namespace: string): Promise<void> {
  const metadata = { name: namespace };
  await plane.admin.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata });
}

/** Goes through all stages undisturbed; the picture after each is what every other run is held to. */
export async function recordLife(world: World, namespace: string): Promise<readonly Picture[]> {
  const pictures: Picture[] = [];
  for (const { act } of STAGES) {
    await act(namespace, world.plane);
    pictures.push(await stillness(() => world.picture(namespace)));
  }
  return pictures;
}

/** Goes through all stages and waits at each until there is what the record shows; rejects with the first difference that stays. */
export async function repeatLife(world: World, namespace: string, record: readonly Picture[]): Promise<void> {
  for (const [index, { act, name }] of STAGES.entries()) {
    await act(namespace, world.plane);
    const due = Date.now() + DEADLINE_MS;
    while (!isDeepStrictEqual(world.picture(namespace), record[index])) {
      if (Date.now() > due) throw new StageError(name, world.picture(namespace), record[index]!);
      await sleep(LOOK_EVERY_MS);
    }
  }
}

class StageError extends Error {
  override readonly name = 'StageError';
  constructor(stage: string, found: Picture, wanted: Picture) {
    const keys = [...new Set([...Object.keys(found), ...Object.keys(wanted)])];
    const different = keys.filter((key) => !isDeepStrictEqual(found[key], wanted[key]));
    const lines = different.map(
      (key) => `${key}\n  found  ${JSON.stringify(found[key])}\n  wanted ${JSON.stringify(wanted[key])}`,
    );
    super(`Stage "${stage}" did not end as it should:\n${lines.join('\n')}`);
  }
}
