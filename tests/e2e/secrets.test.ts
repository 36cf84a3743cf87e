// Secrets on a real cluster: planted tokens, keys and texts are in no object, description, event, log, page or answer; nor do images hold any.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { ENDPOINT, eventually, installChart, startCluster, tinyReplicas } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import { HAS_NODE } from '../helpers/cluster-node.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { clusterPlaces, findPlanted } from '../helpers/planted.ts';
import type { Place } from '../helpers/planted.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const ROOT = join(import.meta.dirname, '..', '..');
// The release's own: there an EmbeddingModel takes the place of the list's.
const NAMESPACE = 'kubembed';
const PLANTED = {
  'right token': `hf_${'Right'.repeat(6)}0`,
  'wrong token': `hf_${'Wrong'.repeat(6)}0`,
  'API key': `sk-${'planted'.repeat(6)}`,
  'unknown API key': `sk-${'unknown'.repeat(6)}`,
  text: 'zyxwvutsrqponmlkjihgfedcba zyxwvuts',
};
const KEYS = `keys: [{name: tests, sha256: ${createHash('sha256').update(PLANTED['API key']).digest('hex')}}]`;

let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

const secret = (name: string, namespace: string, stringData: Readonly<Record<string, string>>): object => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace },
  stringData,
});

const model = (name: string): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name, namespace: NAMESPACE },
  spec: { model: `org/${name}`, tokenSecretRef: { name: `${name}-token` }, scaling: { minReplicas: 1 } },
});

beforeAll(async () => {
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host, { token: PLANTED['right token'] });
  cleanup.push(async () => await hub.close());
  const files = await tinyModel();
  for (const name of ['right', 'wrong']) {
    hub.commit(`org/${name}`, files);
    hub.gate(`org/${name}`);
  }
  await cluster.kubectl(['create', 'namespace', 'kubembed']);
  await cluster.apply(
    secret('planted-keys', 'kubembed', { 'keys.yaml': KEYS }),
    ...(['right', 'wrong'] as const).map((name) =>
      secret(`${name}-token`, NAMESPACE, { HF_TOKEN: PLANTED[`${name} token`] }),
    ),
  );
  await installChart(cluster, {
    supportedModels: 'org/right\norg/wrong\n',
    'huggingFace.endpoint': hub.endpoint,
    'router.apiKeys.existingSecret': 'planted-keys',
    'router.statusPage': true,
    ...tinyReplicas('10m'),
  });
  await cluster.apply(model('right'), model('wrong'));
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

const reached = async (name: string, reason: string): Promise<boolean> =>
  await eventually(`${name} with reason ${reason}`, async () => {
    const { status } = await cluster.get<EmbeddingModel>('embeddingmodel', name, '-n', NAMESPACE);
    const found = findCondition(status?.conditions, 'Ready');
    if (found?.reason === reason) return true;
    throw new Error(found?.reason);
  });

/** A request from another pod, which is kept as a place to look through. */
async function ask(places: Place[], key: string, body: object): Promise<number> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  const { status, text } = await cluster.inClient<{ status: number; text: string }>(
    'ask.mjs',
    `${ENDPOINT}/embeddings`,
    { headers, body },
  );
  places.push({ name: `answer ${places.length} (${status})`, text });
  return status;
}

/** Pages of the processes, through the API server. */
async function pages(): Promise<readonly Place[]> {
  const pods = await cluster.kubectl(['get', 'pods', '-A', '-o', 'name', '-l', 'kubembed.dev/model']);
  expect(pods).toContain('pod/em-right');
  const services = '/api/v1/namespaces/kubembed/services/kubembed:http/proxy';
  const [runtime = ''] = /pod\/(em-right\S+)/.exec(pods)?.slice(1) ?? [];
  const paths = [
    ...['/metrics', '/', '/v1/models', '/openapi.json'].map((path) => services + path),
    // Where keys are asked for, metrics are not on the port that clients reach.
    '/api/v1/namespaces/kubembed/services/kubembed-router-internal:internal/proxy/metrics',
    `/api/v1/namespaces/${NAMESPACE}/pods/${runtime}:8080/proxy/metrics`,
  ];
  return await Promise.all(
    paths.map(async (path) => ({
      name: path,
      // A refusal is a page, too.
      text: await cluster.kubectl(['get', '--raw', path]).catch((error: unknown) => String(error)),
    })),
  );
}

it('what was planted stays where it belongs', async () => {
  await reached('right', 'Ready');
  await reached('wrong', 'GatedRepository');
  const answers: Place[] = [];
  const { text } = PLANTED;
  expect(await ask(answers, PLANTED['API key'], { model: 'org/right', input: [text, 'b'] })).toBe(200);
  expect(await ask(answers, PLANTED['API key'], { model: 'org/right', input: [[text]] })).toBe(400);
  expect(await ask(answers, PLANTED['API key'], { model: 'org/wrong', input: text })).toBe(503);
  expect(await ask(answers, PLANTED['unknown API key'], { model: 'org/right', input: text })).toBe(401);

  const places = [...answers, ...(await clusterPlaces(cluster.kubectl, [NAMESPACE])), ...(await pages())];
  expect(places.length).toBeGreaterThan(20);
  // The search saw something: what the pods logged, and the descriptions.
  const seen = places.map((place) => place.text).join('\n');
  for (const sign of ['Request answered', 'GatedRepository', 'kubembed_router_requests_total', 'Type:  Opaque'])
    expect(seen).toContain(sign);
  expect(findPlanted(PLANTED, places)).toEqual([]);
  // They were on their way: the hub has seen both tokens.
  const authorizations = new Set(hub.requests.map(({ authorization }) => authorization));
  for (const name of ['right token', 'wrong token'] as const)
    expect(authorizations).toContain(`Bearer ${PLANTED[name]}`);
});

it.runIf(HAS_NODE)('images hold nothing that has no place in them, and have a bill of materials each', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['tools/security/check.ts'], {
    cwd: ROOT,
    maxBuffer: 1 << 26,
  }).catch((error: unknown) => error as { stdout: string });
  for (const name of ['operator', 'runtime']) {
    expect(stdout).toMatch(new RegExp(`^ok {3}image ${name}: \\d+ components`, 'm'));
    const bill = JSON.parse(await readFile(join(ROOT, 'reports', 'sbom', `${name}.cdx.json`), 'utf8')) as {
      bomFormat: string;
      components: { name: string; version?: string }[];
    };
    expect(bill.bomFormat).toBe('CycloneDX');
    const names = bill.components.map((component) => component.name);
    expect(names).toEqual(expect.arrayContaining(['express', 'prom-client', 'libc6']));
    expect(bill.components.filter(({ version }) => version === undefined)).toEqual([]);
  }
  expect(stdout).not.toContain('FAIL');
});
