// Rollouts: how many models that serve may replace their pods at the same time, so that an upgrade of the operator is no outage of all.
import { childName, LABEL_MODEL } from '../api/names.ts';
import { EMBEDDING_MODELS } from '../api/types.ts';
import type { Clock } from '../kube/clock.ts';
import type { Informer } from '../kube/informer.ts';
import type { Deployment } from '../kube/resources.ts';
import { controllerOf, parseKey } from '../kube/types.ts';

export interface Rollouts {
  /** Whether this model may replace its pods now; if so, it counts until that is done. If not, `onFree` tells when to ask again. */
  readonly mayStart: (key: string) => boolean;
  /** Calls back with the keys of models that were told to wait. */
  readonly onFree: (free: (key: string) => void) => void;
}

const modelOf = ({ metadata }: Deployment): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[LABEL_MODEL] ?? ''}`;

/** Made for a model: anybody may give a Deployment the label. */
const isMade = (deployment: Deployment): boolean =>
  deployment.metadata.name === childName(deployment.metadata.labels?.[LABEL_MODEL] ?? '') &&
  controllerOf(deployment)?.kind === EMBEDDING_MODELS.kind;

const namespaceOf = (key: string): string => parseKey(key).namespace;

/** Something would be lost with its pods. */
const isServing = ({ spec, status }: Deployment): boolean => spec.replicas !== 0 && (status?.readyReplicas ?? 0) > 0;

/** Pods of two templates, or of one that the Deployment controller has not seen. */
const isMixed = ({ metadata, status = {} }: Deployment): boolean =>
  (status.observedGeneration ?? 0) < (metadata.generation ?? 0) ||
  (status.updatedReplicas ?? 0) < (status.replicas ?? 0);

const isDone = (deployment: Deployment): boolean =>
  deployment.spec.replicas === 0 ||
  (!isMixed(deployment) && (deployment.status?.readyReplicas ?? 0) >= (deployment.spec.replicas ?? 1));

/** Given to a model whose Deployment was of this generation then. */
interface Turn {
  readonly generation: number;
  readonly sinceMs: number;
}

const LAPSE_MS = 60_000;
/**
 * A change that does not come up holds up what is beside it, for the next one may be as bad; but a team whose pods never start must not
 * hold up the others for ever. Who waits for longer than that is asked again when all models are looked at.
 */
const HOLDS_OTHERS_MS = 900_000;

export function createRollouts(
  deployments: Pick<Informer<Deployment>, 'onChange'> & {
    readonly store: { readonly list: () => readonly Deployment[] };
  },
  max: number,
  clock: Pick<Clock, 'now'>,
): Rollouts {
  const rolling = new Map<string, Turn>();
  const waiting = new Set<string>();
  const listeners = new Set<(key: string) => void>();

  const turnOf = ({ metadata }: Deployment): Turn => ({ generation: metadata.generation ?? 0, sinceMs: clock.now() });

  /** The change is in the cache, or it is not coming: refused, or taken back. */
  const isTaken = ({ metadata, spec }: Deployment, { generation, sinceMs }: Turn): boolean =>
    spec.replicas === 0 || (metadata.generation ?? 0) > generation || clock.now() - sinceMs >= LAPSE_MS;

  const current = (): ReadonlyMap<string, Deployment> =>
    new Map(
      deployments.store
        .list()
        .filter(isMade)
        .map((deployment) => [modelOf(deployment), deployment]),
    );

  /** Those that were let go ahead, and those that an operator before this one did. */
  function follow(all: ReadonlyMap<string, Deployment>): void {
    for (const [key, turn] of rolling) {
      const deployment = all.get(key);
      if (deployment === undefined || (isTaken(deployment, turn) && isDone(deployment))) rolling.delete(key);
    }
    for (const [key, deployment] of all)
      if (!rolling.has(key) && isServing(deployment) && isMixed(deployment)) rolling.set(key, turnOf(deployment));
  }

  /** Nobody who counts for this model is in its way. */
  function isFree(key: string): boolean {
    const counted = [...rolling].filter(
      ([other, { sinceMs }]) => namespaceOf(other) === namespaceOf(key) || clock.now() - sinceMs < HOLDS_OTHERS_MS,
    );
    return counted.length < max;
  }

  deployments.onChange((_old, next) => {
    if (waiting.size === 0 || (next !== undefined && !isDone(next))) return;
    follow(current());
    const told = rolling.size < max ? [...waiting] : [...waiting].filter(isFree);
    for (const key of told) waiting.delete(key);
    for (const key of told) for (const listener of listeners) listener(key);
  });

  return {
    mayStart: (key) => {
      const all = current();
      const deployment = all.get(key);
      // What does not serve loses nothing, and a cure for what is broken is not to wait for it.
      if (deployment === undefined || !isServing(deployment)) return true;
      follow(all);
      if (!rolling.has(key) && !isFree(key)) {
        waiting.add(key);
        return false;
      }
      waiting.delete(key);
      if (!rolling.has(key)) rolling.set(key, turnOf(deployment));
      return true;
    },
    onFree: (free) => void listeners.add(free),
  };
}
