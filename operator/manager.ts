// The manager: of several processes one leads, and runs what only one may: both controllers, the autoscaler and its demand streams.
import type { Environment } from '../kube/clock.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Elector } from '../kube/leaderelection.ts';
import type { Autoscaler } from './autoscaler/autoscaler.ts';
import { createCatalogController } from './catalog/controller.ts';
import type { CatalogControllerDeps } from './catalog/controller.ts';
import { createModelController } from './model/controller.ts';
import type { ModelControllerDeps } from './model/controller.ts';
import { createMutationCache } from './model/mutation-cache.ts';
import type { ProgressTracker } from './model/progress.ts';
import type { Releases } from './releases.ts';
import { createRepeats } from './repeats.ts';
import { createRollouts } from './rollouts.ts';

export interface ManagerDeps extends Omit<
  ModelControllerDeps & CatalogControllerDeps,
  'written' | 'clock' | 'repeats' | 'rollouts' | 'told' | 'releases'
> {
  readonly elector: Elector;
  readonly autoscaler: Autoscaler;
  readonly releases: Releases;
  readonly progress: ProgressTracker;
  readonly events: EventRecorder;
  readonly maxRollouts: number;
}

export interface Manager {
  /** Waits for its turn and leads until the signal aborts or the Lease is lost; once. */
  readonly run: (signal: AbortSignal) => Promise<'stopped' | 'lost'>;
  /** This process reconciles. */
  readonly leading: () => boolean;
}

/** Stands in for the elector where there is nobody to compete with. */
export const noElection: Elector = {
  isLeader: () => true,
  run: async (lead, signal) => {
    await lead(signal);
    return 'stopped';
  },
};

export function createManager(deps: ManagerDeps, environment: Environment): Manager {
  const { elector, caches, acceptance, autoscaler, releases, progress, events } = deps;
  let active = false;

  async function reconcileUntil(signal: AbortSignal): Promise<void> {
    const { clock } = environment;
    const written = createMutationCache(clock);
    const rollouts = createRollouts(caches.children.deployment, deps.maxRollouts, clock);
    const shared = { ...deps, written, clock, repeats: createRepeats(clock), rollouts, told: new Set<string>() };
    const controllers = [createModelController(shared, environment), createCatalogController(shared, environment)];
    acceptance.refresh();
    // Who fails takes the others along.
    const ending = new AbortController();
    const until = AbortSignal.any([signal, ending.signal]);
    const running = [...controllers, autoscaler, releases, progress].map(
      async (one) => await one.run(until).finally(() => ending.abort()),
    );
    try {
      await Promise.all(running);
    } finally {
      await Promise.allSettled(running);
      written.stop();
      await events.flush();
    }
  }

  async function lead(signal: AbortSignal): Promise<void> {
    try {
      await caches.whenSynced(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    active = true;
    await reconcileUntil(signal).finally(() => (active = false));
  }

  return {
    run: async (signal) => await elector.run(lead, signal),
    leading: () => active && elector.isLeader(),
  };
}
