// A watch on an ApiStore: replays what happened since a resourceVersion, then follows until time is up.
import type { WatchOptions } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import { expired } from './failures.ts';
import { seenBy } from './history.ts';
import type { Change, History } from './history.ts';
import { selects } from './selector.ts';
import type { ApiStore } from './store.ts';

const BOOKMARK_INTERVAL_MS = 60_000;

export async function* watchStore(
  store: ApiStore,
  type: ResourceType,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<KubeObject>> {
  const selected = selects(options);
  const history = store.history(type);
  const due = { bookmark: false, end: false };
  const bell = createBell();
  const stops = [
    history.subscribe(bell.ring),
    every(store.clock, BOOKMARK_INTERVAL_MS, () => {
      due.bookmark = true;
      bell.ring();
    }),
    store.clock.setTimeout(() => {
      due.bookmark = due.end = true;
      bell.ring();
    }, options.timeoutSeconds * 1000),
  ];
  options.signal.addEventListener('abort', bell.ring);
  try {
    let position = Number(options.resourceVersion);
    if (position === 0) {
      position = Number(store.resourceVersion());
      yield* store
        .list(type)
        .filter(selected)
        .map((object) => ({ type: 'ADDED' as const, object }));
    }
    for (;;) {
      options.signal.throwIfAborted();
      const change = nextChange(history, position);
      if (change) {
        position = change.revision;
        yield* seenBy(selected, change);
      } else if (due.bookmark) {
        due.bookmark = false;
        position = Math.max(position, Number(store.resourceVersion()));
        yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: String(position) } } };
      } else if (due.end) return;
      else await bell.wait();
    }
  } finally {
    for (const stop of stops) stop();
    options.signal.removeEventListener('abort', bell.ring);
  }
}

function nextChange(history: History, position: number): Change | undefined {
  if (position < history.oldest()) throw expired(String(position), history.oldest());
  return history.after(position);
}

/** A ring between two waits isn't lost. */
function createBell(): { readonly ring: () => void; readonly wait: () => Promise<void> } {
  let rung = false;
  let wake = (): void => undefined;
  return {
    ring: () => {
      rung = true;
      wake();
    },
    wait: async () => {
      if (!rung) await new Promise<void>((resolve) => (wake = resolve));
      rung = false;
    },
  };
}

function every(clock: Clock, ms: number, fn: () => void): () => void {
  let cancel = (): void => undefined;
  const arm = (): void => {
    cancel = clock.setTimeout(() => {
      arm();
      fn();
    }, ms);
  };
  arm();
  return () => cancel();
}
