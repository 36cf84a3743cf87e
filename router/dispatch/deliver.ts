// Delivers one request (or one shard) to an endpoint: admit, pick, attempt, and try elsewhere where that is safe.
import { DEADLINE_MS, PRIORITY } from '../../common/http/headers.ts';
import { modelNotFound } from '../../common/openai/errors.ts';
import type { DemandBook } from '../admission/demand.ts';
import { HoldError } from '../admission/hold.ts';
import { cannotComeUp, goneOrLate, noEndpointAnswered, waitedTooLong, waitingRoomFull } from '../admission/refusals.ts';
import type { RouterMetrics } from '../metrics.ts';
import { countAttempt, earn, judge, mayTryAgain, NO_ATTEMPTS, spend } from '../routing/retry.ts';
import type { AttemptCounts, Failure } from '../routing/retry.ts';
import type { RouteTable, ServedModel } from '../routing/table.ts';
import type { Answer, Attempt, Outcome, StreamedAnswer } from '../upstream/attempt.ts';
import type { Fleet, Lease } from '../upstream/fleet.ts';
import type { Pools } from '../upstream/pools.ts';
import type { Delivery, Job } from './job.ts';
import type { ModelMemories, ModelMemory } from './models.ts';
import { attemptSpan, during, endAttempt, holdSpan } from './spans.ts';

export interface DeliverDeps {
  readonly table: () => RouteTable;
  readonly fleet: Fleet;
  readonly pools: Pools;
  readonly memories: ModelMemories;
  readonly demand: DemandBook;
  readonly metrics: RouterMetrics;
  readonly now: () => number;
}

export type Deliver = (job: Job) => Promise<Delivery>;

/** The state of one job between its attempts. */
interface Course {
  readonly job: Job;
  readonly memory: ModelMemory;
  readonly tried: Set<string>;
  counts: AttemptCounts;
  heldMs: number;
}

const EMBEDDINGS_PATH = '/v1/embeddings';

export const createDeliver = (deps: DeliverDeps): Deliver => {
  const { fleet, pools, memories, demand, metrics, now } = deps;

  /** A lease now, nothing if the job must wait, an error if waiting is pointless. */
  const take = ({ job, memory, tried }: Course): Lease | undefined => {
    const model = deps.table().byKey.get(job.key);
    if (model === undefined) throw modelNotFound(job.name);
    if (model.endpoints.length === 0) {
      demand.wake(job.key, memory.hold.size());
      if (model.blocked) throw cannotComeUp(job.name, model.blocked);
      return undefined;
    }
    // Failed on all of them: those that are still trusted get another chance, the others must come back first.
    const isExhausted = model.endpoints.every(({ id }) => tried.has(id));
    if (isExhausted && fleet.trusted(model.endpoints) === 0) return undefined;
    if (isExhausted) tried.clear();
    const picked = fleet.pick(model.endpoints, { lane: job.lane, tokens: job.tokens, tried, thorough: job.isShard });
    return 'lease' in picked ? picked.lease : undefined;
  };

  const admit = (course: Course): Lease | Promise<Lease> => {
    const { job, memory } = course;
    const taken = memory.hold.enter({
      lane: job.lane,
      bytes: job.body.byteLength,
      maxMs: job.cutoff.leftMs(),
      gone: job.cutoff,
      take: () => take(course),
    });
    return taken instanceof Promise ? held(course, taken) : taken;
  };

  const held = async (course: Course, taken: Promise<Lease>): Promise<Lease> => {
    const sinceMs = now();
    try {
      return await during(holdSpan(course.job), taken);
    } finally {
      course.heldMs += now() - sinceMs;
    }
  };

  const causeOf = (job: Job): ServedModel['waiting'] => deps.table().byKey.get(job.key)?.waiting;

  const refusal = (error: unknown, job: Job): unknown => {
    if (!(error instanceof HoldError)) return error;
    if (error.why === 'full') return waitingRoomFull(job.name, causeOf(job));
    if (error.why === 'gone') return goneOrLate(job.cutoff.reason() ?? 'aborted');
    return job.cutoff.leftMs() <= 0 ? goneOrLate('deadline') : waitedTooLong(job.name, causeOf(job));
  };

  const run = async ({ job, counts }: Course, lease: Lease): Promise<Outcome> => {
    const span = attemptSpan(job, lease, counts.attempts);
    const attempt: Attempt = pools.send(lease.endpoint.origin, {
      method: 'POST',
      path: EMBEDDINGS_PATH,
      headers: {
        ...job.headers,
        [DEADLINE_MS]: String(Math.ceil(job.cutoff.leftMs())),
        ...(job.lane === 'bulk' && { [PRIORITY]: job.lane }),
        ...span?.headers(),
      },
      body: job.body,
      gatherBytes: job.gatherBytes,
    });
    job.cutoff.on(attempt.abort);
    fleet.started(lease, attempt);
    const outcome = await attempt.outcome;
    endAttempt(span, outcome);
    // The rest of a streamed answer is still under the deadline.
    if (outcome.kind !== 'stream') job.cutoff.off(attempt.abort);
    fleet.ended(lease, attempt, outcome);
    memories.pump(job.key);
    return outcome;
  };

  /** Charges the retry to the budget; a request that was never sent costs nobody anything. */
  const mayRetry = (course: Course, failure: Failure | 'refused'): boolean => {
    if (!mayTryAgain(course.counts)) return false;
    if (failure === 'connect') return true;
    const left = spend(course.memory.budget);
    if (left === undefined) return false;
    course.memory.budget = left;
    return true;
  };

  const reasonOf = (outcome: Outcome): Failure | 'refused' => (outcome.kind === 'failed' ? outcome.failure : 'refused');

  /** The job's answer, nothing if it should be tried again, an error if it is lost. */
  const settle = (course: Course, lease: Lease, outcome: Outcome): Answer | StreamedAnswer | undefined => {
    course.counts = countAttempt(course.counts, outcome);
    const verdict = judge(outcome);
    if (verdict === 'deliver' && outcome.kind !== 'failed') return outcome;
    const reason = reasonOf(outcome);
    if (reason === 'aborted' || reason === 'deadline') throw goneOrLate(reason);
    if (!mayRetry(course, reason)) {
      throw noEndpointAnswered(course.job.name, outcome.kind === 'failed' ? outcome.cause : undefined);
    }
    metrics.retried(course.job.key, reason);
    course.tried.add(lease.endpoint.id);
    return undefined;
  };

  return async (job) => {
    const memory = memories.of(job.key);
    memory.budget = earn(memory.budget);
    const course: Course = { job, memory, tried: new Set(), counts: NO_ATTEMPTS, heldMs: 0 };
    try {
      for (;;) {
        const admitted = admit(course);
        const lease = admitted instanceof Promise ? await admitted : admitted;
        const sentMs = now();
        const outcome = settle(course, lease, await run(course, lease));
        if (outcome === undefined) continue;
        const { attempts } = course.counts;
        const upstreamMs = (outcome.headAtMs ?? now()) - sentMs;
        return { outcome, endpoint: lease.endpoint.id, attempts, heldMs: course.heldMs, upstreamMs };
      }
    } catch (error) {
      throw refusal(error, job);
    }
  };
};
