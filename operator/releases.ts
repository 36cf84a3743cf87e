// Releases: several operators may watch the same namespaces; each EmbeddingModel is managed by one of them. A release is called by
// the Lease of its operators, `namespace/name`, and lives as long as that is renewed.
import { ANNOTATION_RELEASE } from '../api/names.ts';
import type { EmbeddingModel } from '../api/types.ts';
import { ifPresent } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import { sleep } from '../kube/clock.ts';
import type { Environment } from '../kube/clock.ts';
import { LEASES } from '../kube/resources.ts';

export interface Releases {
  /** The other release that it is left to; undefined when it is ours. */
  readonly managerOf: (model: EmbeddingModel) => string | undefined;
  /** Whether it was looked for at least once: before that it is only taken to live. */
  readonly hasLooked: (release: string) => boolean;
  /** Calls back when a release has come to be known as living or gone. */
  readonly onChange: (changed: () => void) => void;
  /** Looks at the Leases of those that were asked about, until the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export interface ReleasesOptions {
  readonly client: Pick<KubeClient, 'get'>;
  readonly own: string;
  /** Those whose resources are ours now, whether they live or not. */
  readonly takesOver: readonly string[];
}

interface Sighting {
  /** Undefined before it was looked at. */
  readonly renewTime: string | undefined;
  /** When that was first seen, by our own clock: theirs may differ. */
  readonly at: number;
  readonly isGone: boolean;
  readonly isLookedAt: boolean;
}

const LOOK_MS = 10_000;
/** Several times what a new leader of the same release needs, in an upgrade say. */
const GONE_MS = 60_000;

/** What whoever wrote the resource asks for, before what is on record. */
const namedBy = ({ metadata, status }: EmbeddingModel): readonly string[] =>
  [metadata.annotations?.[ANNOTATION_RELEASE], status?.release].filter((name) => name !== undefined);

export function createReleases({ client, own, takesOver }: ReleasesOptions, environment: Environment): Releases {
  const { clock, log } = environment;
  const sightings = new Map<string, Sighting>();
  const listeners = new Set<() => void>();
  let wake = (): void => undefined;

  function isGone(release: string): boolean {
    if (takesOver.includes(release)) return true;
    const sighting = sightings.get(release);
    if (sighting === undefined) {
      sightings.set(release, { renewTime: undefined, at: clock.now(), isGone: false, isLookedAt: false });
      wake();
    }
    return sighting?.isGone === true;
  }

  /** Who cannot be looked at, for want of rights or of an answer, is taken to live. */
  async function look(release: string, sighting: Sighting, signal: AbortSignal): Promise<Sighting> {
    const before = { ...sighting, isLookedAt: true };
    const [namespace = '', name = ''] = release.split('/');
    if (namespace === '' || name === '') return before;
    try {
      const lease = await ifPresent(client.get(LEASES, { namespace, name }, { signal }));
      if (lease === undefined) return { ...before, isGone: true };
      const renewTime = lease.spec?.renewTime ?? '';
      if (renewTime !== before.renewTime) return { ...before, renewTime, at: clock.now(), isGone: false };
      return { ...before, isGone: clock.now() - before.at >= GONE_MS };
    } catch (error) {
      log.debug({ release, error }, 'The Lease of another release cannot be read');
      return before;
    }
  }

  async function lookAtAll(signal: AbortSignal): Promise<void> {
    let changed = false;
    for (const [release, before] of sightings) {
      const after = await look(release, before, signal);
      sightings.set(release, after);
      if (after.isGone === before.isGone) continue;
      changed = true;
      log.warn(
        { release },
        after.isGone ? 'Another release is gone: its models are ours now' : 'Another release lives',
      );
    }
    if (changed) for (const listener of listeners) listener();
  }

  return {
    managerOf: (model) => {
      for (const release of namedBy(model)) {
        if (release === own) return undefined;
        if (!isGone(release)) return release;
      }
      return undefined;
    },
    hasLooked: (release) => sightings.get(release)?.isLookedAt === true,
    onChange: (changed) => void listeners.add(changed),
    async run(signal) {
      const isOver = (): boolean => signal.aborted;
      while (!isOver()) {
        const asked = new AbortController();
        wake = () => asked.abort();
        await lookAtAll(signal);
        await sleep(clock, LOOK_MS, AbortSignal.any([signal, asked.signal]));
      }
    },
  };
}
