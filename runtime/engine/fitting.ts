// Carries out what widening decides: one change of the first worker at a time, and the scheduler knows of it.
import type { Batch, Scheduler } from '../scheduler/types.ts';
import type { Pool } from './pool.ts';
import { createWidening } from './widening.ts';
import type { Width } from './widening.ts';

export interface Fitting {
  /** To be called after each run. */
  readonly ran: (batch: Pick<Batch, 'alone'>) => void;
  /** False when the first worker is busy, or being changed, or died of it. */
  become(width: Width): Promise<boolean>;
  /** The first worker was replaced by what it was at start. */
  reset(): void;
}

export interface FittingParts {
  readonly pool: Pick<Pool, 'refit'>;
  readonly scheduler: Pick<Scheduler, 'retune'>;
  readonly threads: Readonly<Record<Width, number>>;
  readonly now: () => number;
  readonly onRefit: (threads: number, tookMs: number) => void;
}

export function createFitting({ pool, scheduler, threads, now, onRefit }: FittingParts): Fitting {
  const widening = createWidening();
  let changing = false;

  const settle = (settled: Width, tookMs: number): void => {
    scheduler.retune({ isWide: settled === 'wide' });
    widening.became(settled, tookMs);
  };

  async function become(wanted: Width): Promise<boolean> {
    if (changing) return false;
    if (wanted === widening.width()) return true;
    changing = true;
    const startedMs = now();
    // A lone text that comes meanwhile goes to another worker.
    scheduler.retune({ isWide: false });
    const outcome = await pool.refit(threads[wanted]);
    changing = false;
    if (outcome === 'busy') scheduler.retune({ isWide: widening.width() === 'wide' });
    if (outcome === 'died') widening.failed();
    if (outcome === 'done') {
      const tookMs = now() - startedMs;
      settle(wanted, tookMs);
      onRefit(threads[wanted], tookMs);
    }
    return outcome === 'done';
  }

  return {
    ran({ alone }) {
      const wanted = changing ? undefined : widening.ran(alone, now());
      if (wanted !== undefined) void become(wanted);
    },
    become,
    reset: () => settle('narrow', 0),
  };
}
