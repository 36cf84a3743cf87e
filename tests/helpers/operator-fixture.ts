// An operator over any KubeClient, with a list and demand that the test writes, and a count of its API calls.
import { once } from 'node:events';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { ModelDemand } from '../../api/demand.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import type { CatalogSource } from '../../operator/catalog/plan.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import type { OperatorConfig } from '../../operator/config.ts';
import type { DemandSource } from '../../operator/autoscaler/demand.ts';
import { startOperator } from '../../operator/start.ts';
import type { RunningOperator } from '../../operator/start.ts';
import { NO_DEMAND } from '../../api/demand.ts';

export const NAMESPACE = 'kubembed';

export interface Write {
  readonly verb: 'create' | 'replace' | 'apply' | 'patch' | 'delete';
  readonly what: string;
}

/** Counts writes, and looks at single objects; `allow` may refuse a write by throwing, as a connection that is cut. */
export function countingClient(client: KubeClient, allow: (write: Write) => void = () => undefined) {
  const writes: Write[] = [];
  const gets: string[] = [];
  const note = (verb: Write['verb'], kind: string, name: string | undefined): void => {
    const write = { verb, what: `${kind}/${name ?? ''}` };
    allow(write);
    writes.push(write);
  };
  const nameOf = (object: object): string | undefined => (object as { metadata?: { name?: string } }).metadata?.name;
  const counted: KubeClient = {
    ...client,
    get: async (type, key, options) => {
      gets.push(`${type.kind}/${key.name}`);
      return await client.get(type, key, options);
    },
    create: async (type, object, options) => {
      note('create', type.kind, nameOf(object));
      return await client.create(type, object, options);
    },
    replace: async (type, object, options) => {
      note('replace', type.kind, nameOf(object));
      return await client.replace(type, object, options);
    },
    apply: async (type, object, options) => {
      note('apply', options.subresource ? `${type.kind}.${options.subresource}` : type.kind, nameOf(object));
      return await client.apply(type, object, options);
    },
    patch: async (type, key, patch, options) => {
      note('patch', type.kind, key.name);
      return await client.patch(type, key, patch, options);
    },
    delete: async (type, key, options) => {
      note('delete', type.kind, key.name);
      await client.delete(type, key, options);
    },
  };
  return { client: counted, writes, gets };
}

/** A list that the test rewrites. */
export function writtenCatalog(initial: string | undefined, namespace = NAMESPACE) {
  let text = initial;
  const subscribers = new Set<() => void>();
  const source: CatalogSource = {
    current: () => (text === undefined ? undefined : { name: 'list', origin: 'supported_models.txt', text, namespace }),
    subscribe: (changed) => {
      subscribers.add(changed);
      return () => subscribers.delete(changed);
    },
  };
  return {
    source,
    write: (next: string | undefined) => {
      text = next;
      for (const changed of subscribers) changed();
    },
  };
}

/** One router whose demand the test states. */
export function statedDemand() {
  const models: Record<string, ModelDemand> = {};
  const listeners = new Set<() => void>();
  let sequence = 0;
  let looks = 0;
  const source: DemandSource = {
    routers: () => {
      looks += 1;
      return [
        {
          id: 'router',
          reachable: true,
          leaving: false,
          snapshot: { instance: 'one', sequence, models: structuredClone(models) },
        },
      ];
    },
    onUrgent: (urgent) => void listeners.add(urgent),
    run: async (signal) => {
      if (!signal.aborted) await once(signal, 'abort');
    },
  };
  return {
    source,
    /** How often the operator has asked. */
    looks: () => looks,
    state: (key: string, demand: Partial<ModelDemand>) => {
      sequence += 1;
      models[key] = { ...NO_DEMAND, ...models[key], ...demand };
      for (const urgent of listeners) urgent();
    },
  };
}

interface FixtureOptions {
  readonly client: KubeClient;
  readonly catalog?: CatalogSource;
  readonly demand?: DemandSource;
  readonly config?: Partial<OperatorConfig>;
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
}

export interface OperatorFixture {
  readonly operator: RunningOperator;
  readonly registry: Registry;
}

export function runOperator({ client, catalog, demand, config, env, clock }: FixtureOptions): OperatorFixture {
  const registry = new Registry();
  const operator = startOperator({
    client,
    config: {
      ...readOperatorConfig({
        KUBEMBED_NAMESPACE: NAMESPACE,
        KUBEMBED_LEADER_ELECTION: 'false',
        KUBEMBED_CATALOG_REMOVAL_GRACE_SECONDS: '0',
        ...env,
      }),
      ...config,
    },
    log: pino({ level: 'silent' }),
    registry,
    ...(catalog && { catalog }),
    ...(clock && { clock }),
    demand: demand ?? statedDemand().source,
  });
  return { operator, registry };
}
