// The memo: requests that were answered before, or are being answered now, are not computed again. Exact matches only.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import { REVISION } from '../../common/http/headers.ts';
import { longLived } from '../../common/util/slab.ts';
import type { RouterMetrics } from '../metrics.ts';
import type { Answer } from '../upstream/attempt.ts';
import { goneOrLate } from '../admission/refusals.ts';
import type { Cutoff, OnCut } from './cutoff.ts';
import type { Asked, Obtain, Obtained } from './obtain.ts';

export interface Remembered {
  readonly answer: Obtained;
  readonly from: 'hit' | 'miss' | 'coalesced';
}

export interface Memo {
  /** Under which the answer is kept; nothing when the model or the request does not use the memo. */
  readonly keyFor: (headers: IncomingHttpHeaders, asked: Asked) => string | undefined;
  /** The answer, and where it is from. */
  readonly through: (key: string, asked: Asked, obtain: Obtain) => Promise<Remembered>;
}

export interface MemoOptions {
  /** Served names that use it; `*` for all. */
  readonly models: readonly string[];
  readonly maxBytes: number;
  readonly metrics: RouterMetrics;
}

/** One answer may take at most this part of the memo. */
const SHARE = 16;

const bytesOf = ({ chunks }: Answer): number => chunks.reduce((sum, { byteLength }) => sum + byteLength, 1);

/** All that the answer depends on; nothing while the revision is not known. */
const keyOf = ({ model, parsed }: Asked): string | undefined => {
  if (model.revision === undefined) return undefined;
  const { inputs, encoding, dimensions, truncate } = parsed;
  const { precision, pooling } = model.embedding ?? {};
  const facts = [model.key, model.revision, precision, pooling, encoding, dimensions ?? null, truncate ?? null];
  return createHash('sha256')
    .update(JSON.stringify([facts, inputs]))
    .digest('base64');
};

const refuses = (headers: IncomingHttpHeaders): boolean => /\bno-(store|cache)\b/i.test(headers['cache-control'] ?? '');

const whenCut = (cutoff: Cutoff): { readonly cut: Promise<never>; readonly stop: () => void } => {
  const { promise, reject } = Promise.withResolvers<never>();
  const onCut: OnCut = (reason) => reject(goneOrLate(reason));
  cutoff.on(onCut);
  return { cut: promise, stop: () => cutoff.off(onCut) };
};

export const createMemo = ({ models, maxBytes, metrics }: MemoOptions): Memo => {
  const stored = new LRUCache<string, Answer>({
    maxSize: maxBytes,
    maxEntrySize: Math.ceil(maxBytes / SHARE),
    sizeCalculation: bytesOf,
  });
  const running = new Map<string, Promise<Answer | undefined>>();

  const isUsedBy = ({ model }: Asked): boolean =>
    models.includes('*') || models.includes(model.model) || model.names.some((name) => models.includes(name));

  /** Only what came from the revision that the key names is worth keeping. */
  const keep = (key: string, asked: Asked, answer: Obtained): Answer | undefined => {
    if (answer.kind !== 'answer' || answer.status !== 200) return undefined;
    if (answer.headers[REVISION] !== asked.model.revision) return undefined;
    stored.set(key, { ...answer, chunks: answer.chunks.map(longLived) });
    return answer;
  };

  const lead = async (key: string, asked: Asked, obtain: Obtain): Promise<Obtained> => {
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
    running.set(key, promise);
    let kept: Answer | undefined;
    try {
      const answer = await obtain(asked);
      kept = keep(key, asked, answer);
      return answer;
    } finally {
      running.delete(key);
      resolve(kept);
    }
  };

  /** The answer of the one who asked first, if it is any use; one's own deadline still holds. */
  const follow = async (leader: Promise<Answer | undefined>, asked: Asked): Promise<Answer | undefined> => {
    const { cut, stop } = whenCut(asked.job.cutoff);
    try {
      return await Promise.race([leader, cut]);
    } finally {
      stop();
    }
  };

  const lookUp = async (key: string, asked: Asked, obtain: Obtain): Promise<Remembered> => {
    for (;;) {
      const hit = stored.get(key);
      if (hit) return { answer: hit, from: 'hit' };
      const leader = running.get(key);
      if (leader === undefined) return { answer: await lead(key, asked, obtain), from: 'miss' };
      const followed = await follow(leader, asked);
      if (followed) return { answer: followed, from: 'coalesced' };
    }
  };

  return {
    keyFor: (headers, asked) => (models.length > 0 && isUsedBy(asked) && !refuses(headers) ? keyOf(asked) : undefined),
    through: async (key, asked, obtain) => {
      const found = await lookUp(key, asked, obtain);
      metrics.cache(asked.model.key, found.from);
      return found;
    },
  };
};
