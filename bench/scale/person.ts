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

export interface List {
  readonly models: number;
  /** Of a hundred. */
  readonly awakePercent: number;
  /** Of each that is awake. */
  readonly replicas: number;
}

/** Of every hundred the first ones. */
export const isAwake = (index: number, { awakePercent }: Pick<List, 'awakePercent'>): boolean =>
  index % 100 < awakePercent;

/** A ConfigMap holds 1 MiB. */
const LINES_PER_PART = 5000;
const CATALOG = 'kubembed-catalog';

export const listParts = (models: number): readonly string[] =>
  Array.from({ length: Math.max(1, Math.ceil(models / LINES_PER_PART)) }, (_, at) =>
    at === 0 ? CATALOG : `${CATALOG}-${at + 1}`,
  );

function lineOf(index: number, list: List): string {
  const replicas = isAwake(index, list) ? ` minReplicas=${list.replicas} maxReplicas=${list.replicas}` : '';
  return `${listedModel(index)} revision=${SHA}${replicas}\n`;
}

async function writePart(client: KubeClient, name: string, lines: readonly string[]): Promise<void> {
  const metadata = { name, namespace: NAMESPACE };
  const data = { 'supported_models.txt': lines.join('') };
  const part = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
  await client.apply(CONFIG_MAPS, part, USER);
}

/** The list, in as many ConfigMaps as it has parts. */
export async function writeList(client: KubeClient, list: List, parts: readonly string[]): Promise<void> {
  for (const [at, name] of parts.entries()) {
    const first = at * LINES_PER_PART;
    const count = Math.max(0, Math.min(LINES_PER_PART, list.models - first));
    await writePart(
      client,
      name,
      Array.from({ length: count }, (_, index) => lineOf(first + index, list)),
    );
  }
}

/** A line for a model that is always awake, put at the end of the list. */
export async function addLine(client: KubeClient, index: number, replicas: number, part: string): Promise<void> {
  const key = { namespace: NAMESPACE, name: part };
  const { data = {} } = await client.get(CONFIG_MAPS, key);
  const line = lineOf(index, { models: 0, awakePercent: 100, replicas });
  await writePart(client, part, [data['supported_models.txt'] ?? '', line]);
}

export const fewName = (index: number): string => `few-${index}`;

export interface Own {
  /** Of the listed model. */
  readonly index: number;
  /** Its own, under which it is served too. */
  readonly name: string;
  readonly namespace: string;
  readonly replicas: number;
}

/** An EmbeddingModel of one's own for a model that is listed, under a name of its own. */
export async function applyOwn(client: KubeClient, { index, name, namespace, replicas }: Own): Promise<string> {
  const spec = { model: listedModel(index), servedNames: [name], revision: SHA, replicas };
  await client.apply(EMBEDDING_MODELS, manifest(name, spec, namespace), USER);
  return name;
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
  /** Names that the router serves. */
  readonly served: () => Promise<number>;
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
    served: async () => {
      const { body } = await pool.request({ method: 'GET', path: '/v1/models' });
      const { data = [] } = (await body.json()) as { readonly data?: readonly unknown[] };
      return data.length;
    },
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
