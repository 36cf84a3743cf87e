// What a person does: writes the list, applies an EmbeddingModel, and asks the router until it answers.
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { CONFIG_MAPS, ENDPOINT_SLICES, NAMESPACES } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { manifest, SHA } from '../../tests/helpers/builders.ts';

export const NAMESPACE = 'kubembed';
const USER = { fieldManager: 'kubectl', force: true } as const;

export const listedModel = (index: number): string => `org/model-${index}`;

export async function makeNamespaces(client: KubeClient, names: readonly string[]): Promise<void> {
  const made = names.map((name): KubeObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
  await Promise.all(made.map((namespace) => client.create(NAMESPACES, namespace)));
}

/** The first `count` models, each with as many replicas at all times. */
export async function writeList(client: KubeClient, count: number, replicas: number): Promise<void> {
  const options = `revision=${SHA} minReplicas=${replicas} maxReplicas=${replicas}`;
  const lines = Array.from({ length: count }, (_, index) => `${listedModel(index)} ${options}\n`);
  const metadata = { name: 'kubembed-catalog', namespace: NAMESPACE };
  const data = { 'supported_models.txt': lines.join('') };
  const list = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
  await client.apply(CONFIG_MAPS, list, USER);
}

/** An EmbeddingModel of one's own for a model that is listed, under a name of its own. */
export async function applyOwn(client: KubeClient, index: number, replicas: number): Promise<string> {
  const alias = `own-${index}`;
  const spec = { model: listedModel(index), servedNames: [alias], revision: SHA, replicas };
  await client.apply(EMBEDDING_MODELS, manifest(`own-${index}`, spec, 'team'), USER);
  return alias;
}

/** Lets the operator find the router, whose demand it then hears. */
export async function announceRouter(client: KubeClient, address: string, port: number): Promise<void> {
  const name = 'kubembed-router-internal';
  const metadata = { name, namespace: NAMESPACE, labels: { 'kubernetes.io/service-name': name } };
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata,
    addressType: 'IPv4',
    ports: [{ name: 'internal', port }],
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
  };
  await client.apply(ENDPOINT_SLICES, slice, USER);
}

export interface Asker {
  /** Resolves when the model has answered; who asks for an unknown one asks again. */
  readonly untilAnswered: (model: string, everyMs: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

const PATIENCE_MS = 1_200_000;
/** Unknown still, or held for as long as the router holds anything. */
const NOT_YET: ReadonlySet<number> = new Set([404, 503]);

export function createAsker(url: string): Asker {
  const pool = new Pool(url, { connections: 64 });
  const headers = { 'content-type': 'application/json' };
  return {
    untilAnswered: async (model, everyMs) => {
      const body = JSON.stringify({ model, input: 'a text' });
      const due = Date.now() + PATIENCE_MS;
      for (;;) {
        const answer = await pool.request({ method: 'POST', path: '/v1/embeddings', headers, body });
        const text = await answer.body.text();
        if (answer.statusCode === 200) return;
        if (!NOT_YET.has(answer.statusCode) || Date.now() > due)
          throw new Error(`${model}: ${answer.statusCode} ${text}`);
        await sleep(everyMs);
      }
    },
    close: async () => await pool.close(),
  };
}
