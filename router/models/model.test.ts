import fc from 'fast-check';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../endpoints/balancer.ts';
import { createRouterMetrics } from '../metrics.ts';
import type { RouteEndpoint, ServedModel } from '../routing/table.ts';
import { earn, estimateTokens, FULL_BUDGET, learn, Model, spend, FIRST_BYTES_PER_TOKEN } from './model.ts';

describe('estimate', () => {
  it('learns the ratio that usage shows, and stays sane whatever it is told', () => {
    let bytesPerToken = FIRST_BYTES_PER_TOKEN;
    for (let step = 0; step < 100; step += 1) bytesPerToken = learn(bytesPerToken, 2000, 1000);
    expect(estimateTokens(bytesPerToken, { bytes: 2000 })).toBeCloseTo(1002, -1);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer(), fc.integer())), (samples) => {
        const learned = samples.reduce((state, [bytes, tokens]) => learn(state, bytes, tokens), FIRST_BYTES_PER_TOKEN);
        expect(learned).toBeGreaterThanOrEqual(0.25);
        expect(learned).toBeLessThanOrEqual(64);
      }),
    );
  });

  it('counts ids as they are, and no input beyond the model limit', () => {
    expect(estimateTokens(FIRST_BYTES_PER_TOKEN, { tokens: 17 })).toBe(17);
    expect(estimateTokens(FIRST_BYTES_PER_TOKEN, { bytes: 1e6 }, 256)).toBe(256);
    expect(estimateTokens(FIRST_BYTES_PER_TOKEN, { bytes: 0 })).toBe(2);
  });
});

describe('the retry budget', () => {
  it('allows at most a fifth of the requests beyond the reserve, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 2000 }), (steps) => {
        let budget = FULL_BUDGET;
        let requests = 0;
        let retries = 0;
        for (const isRequest of steps) {
          const next = isRequest ? earn(budget) : spend(budget);
          requests += Number(isRequest);
          retries += Number(!isRequest && next !== undefined);
          budget = next ?? budget;
        }
        expect(retries).toBeLessThanOrEqual(FULL_BUDGET + requests * 0.2 + 1e-6);
      }),
    );
  });
});

describe('endpoints that are not ready yet', () => {
  const A: RouteEndpoint = { id: 'a:80', origin: 'http://a:80' };
  const B: RouteEndpoint = { id: 'b:80', origin: 'http://b:80' };
  const served = (endpoints: readonly RouteEndpoint[], starting: readonly RouteEndpoint[]): ServedModel => ({
    ...{ key: 'ns/m', model: 'org/m', names: ['org/m'], created: 0, prompts: undefined },
    ...{ embedding: undefined, revision: undefined, blocked: undefined, waiting: undefined },
    endpoints,
    starting,
  });
  const setUp = () => {
    const clock = { nowMs: 0 };
    const endpoints = new Set<Endpoint>();
    const made: string[] = [];
    const model = new Model(served([], []), {
      now: () => clock.nowMs,
      random: () => 0,
      queueLimits: { maxRequests: 10, maxBytes: 1000, maxMs: 1000 },
      slowStartMs: 0,
      connect: (origin) => {
        made.push(origin);
        return {
          send: () => expect.fail('nothing is sent'),
          probe: async () => true,
          close: () => undefined,
          destroy: () => undefined,
        };
      },
      endpoints,
      metrics: createRouterMetrics(new Registry(), new Map()),
      recordsActivity: false,
      onBusy: () => undefined,
      onWait: () => undefined,
      onDemand: () => undefined,
      onWake: () => undefined,
      onEject: () => undefined,
    });
    const ids = () => model.served.endpoints.map(({ id }) => id);
    const asked = () => model.starting().map(({ id }) => id);
    return { clock, endpoints, made, model, ids, asked };
  };

  it('serve from when they say that they are ready, and are the same when the cluster says so too', () => {
    const { model, made, ids, asked } = setUp();
    model.update(served([], [A, B]));
    expect([ids(), asked()]).toEqual([[], ['a:80', 'b:80']]);
    model.admit('a:80');
    expect([ids(), asked()]).toEqual([['a:80'], ['b:80']]);
    model.update(served([], [A, B]));
    expect(ids()).toEqual(['a:80']);
    model.update(served([A], [B]));
    expect([ids(), asked(), made]).toEqual([['a:80'], ['b:80'], ['http://a:80']]);
    // What the cluster takes back is asked anew before it serves.
    model.update(served([], [A, B]));
    expect([ids(), asked()]).toEqual([[], ['a:80', 'b:80']]);
  });

  it('are forgotten with their pod, and a late answer brings none back', () => {
    const { model, ids, asked } = setUp();
    model.update(served([], [A]));
    model.admit('a:80');
    model.update(served([], []));
    model.admit('a:80');
    expect([ids(), asked()]).toEqual([[], []]);
    model.update(served([], [A]));
    expect(ids()).toEqual([]);
    model.forget();
    model.admit('a:80');
    expect(model.starting()).toEqual([]);
  });

  it('serve no more once they failed, and are asked again after a while', () => {
    const { clock, model, endpoints, ids, asked } = setUp();
    model.update(served([], [A]));
    model.admit('a:80');
    for (const endpoint of endpoints) endpoint.signal('unreachable');
    expect([ids(), asked(), endpoints.size]).toEqual([[], [], 0]);
    clock.nowMs = 1000;
    expect(asked()).toEqual(['a:80']);
    model.admit('a:80');
    expect([ids(), model.balancer.healthy()]).toEqual([['a:80'], 1]);
  });
});
