// The gate: who a request is from, which models they may use, and how much per minute. Open when no keys are configured.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { ServedModel } from '../routing/table.ts';
import { mayUse } from './keys.ts';
import type { ApiKey } from './keys.ts';
import { fullBudget, printDuration, refill, take, waitMs } from './rate.ts';
import type { Budget } from './rate.ts';

export interface Charge {
  /** What the client is told of its limits. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The estimate that was charged gives way to what was used. */
  readonly correct: (tokens: number) => void;
}

export interface Gate {
  /** Nobody is asked for a key. */
  readonly isOpen: boolean;
  /** Before routing: throws a 401 for a path that needs a key. */
  readonly enter: (request: Pick<IncomingMessage, 'url' | 'headers'>) => void;
  /** These two for the headers of a request that has entered. */
  readonly mayUse: (headers: IncomingHttpHeaders, model: ServedModel) => boolean;
  /** Throws 403 or 429. */
  readonly admit: (headers: IncomingHttpHeaders, model: ServedModel, tokens: number) => Charge;
}

const FREE: Charge = { headers: [], correct: () => undefined };

export const OPEN_GATE: Gate = { isOpen: true, enter: () => undefined, mayUse: () => true, admit: () => FREE };

/** Express matches paths in any case. */
const GUARDED = /^\/(v1\/|embeddings|status\.json)/i;
const BEARER = /^Bearer\s+(\S+)$/i;

const unauthorised = (message: string): OpenAIError =>
  new OpenAIError('invalid_api_key', message, { headers: { 'www-authenticate': 'Bearer' } });

type Unit = 'requests' | 'tokens';

/** What is left of one limit of one key. */
interface Meter {
  readonly unit: Unit;
  readonly perMinute: number;
  budget: Budget;
}

const metersOf = (key: ApiKey, nowMs: number): readonly Meter[] => {
  const meter = (unit: Unit, perMinute: number | undefined): readonly Meter[] =>
    perMinute === undefined ? [] : [{ unit, perMinute, budget: fullBudget(perMinute, nowMs) }];
  return [...meter('requests', key.requestsPerMinute), ...meter('tokens', key.tokensPerMinute)];
};

const told = ({ unit, perMinute, budget }: Meter): readonly (readonly [string, string])[] => [
  [`x-ratelimit-limit-${unit}`, String(perMinute)],
  [`x-ratelimit-remaining-${unit}`, String(Math.max(0, Math.floor(budget.left)))],
  [`x-ratelimit-reset-${unit}`, printDuration(waitMs(budget, perMinute, perMinute))],
];

export const createGate = (keys: () => ReadonlyMap<string, ApiKey> | undefined, now: () => number): Gate => {
  const holders = new WeakMap<IncomingHttpHeaders, ApiKey>();
  /** By name, so that a key's replacement does not start with a fresh minute. */
  const meters = new Map<string, readonly Meter[]>();

  const currentMeters = (key: ApiKey): readonly Meter[] => {
    const fresh = metersOf(key, now());
    const kept = (meters.get(key.name) ?? []).filter((old) =>
      fresh.some(({ unit, perMinute }) => unit === old.unit && perMinute === old.perMinute),
    );
    const current = fresh.map((one) => kept.find(({ unit }) => unit === one.unit) ?? one);
    for (const meter of current) meter.budget = refill(meter.budget, meter.perMinute, now());
    meters.set(key.name, current);
    return current;
  };

  const enter: Gate['enter'] = (request) => {
    if (!GUARDED.test(request.url ?? '')) return;
    const known = keys();
    if (known === undefined) throw new OpenAIError('service_unavailable', 'The API keys have not been read yet.');
    const given = BEARER.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined) {
      throw unauthorised("You didn't provide an API key. Send it in a header: Authorization: Bearer YOUR_KEY.");
    }
    const key = known.get(createHash('sha256').update(given).digest('hex'));
    if (key === undefined) throw unauthorised('Incorrect API key provided.');
    holders.set(request.headers, key);
  };

  const allowed = (headers: IncomingHttpHeaders, model: ServedModel): boolean => {
    const key = holders.get(headers);
    return key !== undefined && mayUse(key, [model.model, ...model.names]);
  };

  const admit: Gate['admit'] = (headers, model, tokens) => {
    const key = holders.get(headers);
    if (key === undefined || !allowed(headers, model)) {
      throw new OpenAIError('permission_denied', `This API key does not have access to model \`${model.model}\`.`);
    }
    const current = currentMeters(key);
    const amount = (unit: Unit): number => (unit === 'requests' ? 1 : tokens);
    const short = current.find(({ unit, perMinute, budget }) => !take(budget, perMinute, amount(unit)));
    if (short) {
      const retryAfterMs = waitMs(short.budget, short.perMinute, amount(short.unit));
      throw new OpenAIError(
        'rate_limit_exceeded',
        `Rate limit reached for ${short.unit} per minute: limit ${short.perMinute}. Please try again in ${printDuration(retryAfterMs)}.`,
        { retryAfterMs, headers: Object.fromEntries(current.flatMap(told)) },
      );
    }
    for (const meter of current) {
      meter.budget = take(meter.budget, meter.perMinute, amount(meter.unit)) ?? meter.budget;
    }
    const metered = current.find(({ unit }) => unit === 'tokens');
    return {
      headers: current.flatMap(told),
      correct: (used) => {
        if (metered) metered.budget = { ...metered.budget, left: metered.budget.left + tokens - used };
      },
    };
  };

  return { isOpen: false, enter, mayUse: allowed, admit };
};
