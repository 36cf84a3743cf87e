// Many teams that may edit their own namespaces, and nothing else, try all they can to disturb the shared models and each other. What
// others see stays as it was, and no name of others ever leads to an endpoint of theirs. `npm run test:tenants` has thirty of them.
import pLimit from 'p-limit';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { ApiError, ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, JOBS, PODS, SERVICES } from '../../kube/resources.ts';
import { createRestClient } from '../../kube/rest.ts';
import type { RestClient } from '../../kube/rest.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { startDiscovery } from '../../router/routing/discovery.ts';
import type { Discovery } from '../../router/routing/discovery.ts';
import { buildTable } from '../../router/routing/table.ts';
import type { RouteTable, ServedModel } from '../../router/routing/table.ts';
import { SHA, manifest } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { renderChart } from '../helpers/helm.ts';
import { NAMESPACE, runOperator, statedDemand, writtenCatalog } from '../helpers/operator-fixture.ts';
import type { OperatorFixture } from '../helpers/operator-fixture.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
const patient = { timeout: 300_000, interval: 250 };
/** Reads a thousand models each time. */
const crowded = { timeout: 900_000, interval: 3000 };
const TENANTS = Number(process.env['TENANTS'] ?? 5);
/** EmbeddingModels that one of them makes. */
const FLOOD = Number(process.env['TENANT_MODELS'] ?? 60);
const LIST = 'org/a alias=shared minReplicas=1\norg/b revision=0123456789012345678901234567890123456789\n';
const QUIET = 'quiet';
/** What others ask for, and whose it is. */
const PROTECTED: Readonly<Record<string, string>> = {
  'org/a': `${NAMESPACE}/org--a`,
  shared: `${NAMESPACE}/org--a`,
  'org/b': `${NAMESPACE}/org--b`,
  'quiet/search': `${QUIET}/search`,
};

interface Tenant {
  readonly namespace: string;
  /** Acts as its user, with what `edit` in its namespace gives. */
  readonly client: RestClient;
}

let plane: ControlPlane;
let tenants: readonly Tenant[];
let fixture: OperatorFixture;
let discovery: Discovery;
const demand = statedDemand();
let table: RouteTable;
/** What users of the protected names could notice, in whatever table there was, and who had the name that sleeps at first. */
const noticed = new Set<string>();
const sleepers = new Set<string | undefined>();
/** As many pods as all of them start fit on one. */
const TENANTS_PER_NODE = 5;

/** As on clusters that are older than the rule that takes this right away from `edit`. */
const OLDER_EDIT = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: older-edit, labels: { rbac.authorization.k8s.io/aggregate-to-edit: 'true' } }
rules: [{ apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: ['*'] }]
`;

async function makeTenant(namespace: string): Promise<Tenant> {
  const user = `user-of-${namespace}`;
  await plane.kubectl(['create', 'namespace', namespace]);
  await plane.kubectl(['create', 'rolebinding', 'edit', '--clusterrole=edit', `--user=${user}`, '-n', namespace]);
  const headers = async () => await Promise.resolve({ 'impersonate-user': user });
  const client = createRestClient({ ...plane.connection, headers }, { clock: systemClock, userAgent: user });
  return { namespace, client };
}

/** Any protected name and where it leads, in words that change when anything does that its users could notice. */
const seenIn = (known: RouteTable): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.keys(PROTECTED).map((name) => {
      const { key, model, endpoints = [] } = (known.byFoldedName.get(name) ?? {}) as Partial<ServedModel>;
      return [name, [key, model, ...endpoints.map(({ id }) => id).toSorted()].join(' ')];
    }),
  );

const find = async <T extends KubeObject>(type: ResourceType<T>, namespace: string, name: string) =>
  await ifPresent(plane.admin.get(type, { namespace, name }));

const isAwake = async (namespace: string, name: string): Promise<void> => {
  const { status } = (await find(EMBEDDING_MODELS, namespace, name)) ?? {};
  expect(findCondition(status?.conditions, 'Ready')).toMatchObject({ reason: 'Ready' });
};

/** But for the model that wakes meanwhile. */
const asleep = (all: Readonly<Record<string, string>>) => ({ ...all, 'org/b': '' });

/** The shared objects and the quiet team's, as they are stored. Whoever writes one of them moves its version. */
async function versions(): Promise<Readonly<Record<string, unknown>>> {
  const all: [string, unknown][] = [];
  for (const namespace of [NAMESPACE, QUIET])
    for (const type of [EMBEDDING_MODELS, DEPLOYMENTS, SERVICES] as readonly ResourceType[]) {
      const { items } = await plane.admin.list(type, { namespace });
      for (const { metadata } of items)
        all.push([`${type.kind} ${namespace}/${metadata.name}`, [metadata.uid, metadata.generation, metadata.labels]]);
    }
  return Object.fromEntries(all);
}

beforeAll(async () => {
  plane = await startControlPlane({ controllers: true, fakeNodes: Math.ceil(TENANTS / TENANTS_PER_NODE), crds: [CRD] });
  for (const name of [NAMESPACE, QUIET]) await plane.kubectl(['create', 'namespace', name]);
  const roles = await renderChart({}, ['--no-hooks', '--show-only', 'templates/rbac.yaml']);
  await plane.kubectl(['apply', '--server-side', '-f', '-'], roles);
  await plane.kubectl(['apply', '-f', '-'], OLDER_EDIT);
  tenants = await Promise.all(Array.from({ length: TENANTS }, async (_, index) => await makeTenant(`team-${index}`)));
  await vi.waitFor(async () => {
    const { namespace } = tenants[0]!;
    const ask = ['auth', 'can-i', 'create', 'embeddingmodels', '-n', namespace, '--as', `user-of-${namespace}`];
    expect((await plane.kubectl(ask).catch(() => 'no')).trim()).toBe('yes');
  }, patient);
  fixture = runOperator({
    client: plane.client('operator'),
    catalog: writtenCatalog(LIST).source,
    demand: demand.source,
  });
  const own = { servedNames: ['quiet/search'], replicas: 1, revision: SHA };
  await plane.admin.create(EMBEDDING_MODELS, manifest('search', { model: 'org/a', ...own }, QUIET));
  discovery = startDiscovery({
    client: plane.client('router'),
    namespaces: [],
    releases: [`${NAMESPACE}/kubembed-operator`],
    log: pino({ level: 'silent' }),
    random: Math.random,
    now: () => performance.now(),
    onTable: (next) => {
      table = next;
      noticed.add(JSON.stringify(asleep(seenIn(table))));
      sleepers.add(table.byFoldedName.get('org/b')?.key);
    },
  });
  await vi.waitFor(async () => {
    await isAwake(NAMESPACE, 'org--a');
    await isAwake(QUIET, 'search');
    const { byFoldedName } = table;
    expect(byFoldedName.get('shared')?.endpoints).toHaveLength(1);
    expect(byFoldedName.get('quiet/search')?.endpoints).toHaveLength(1);
    expect(byFoldedName.get('org/b')).toBeDefined();
  }, patient);
});
afterAll(async () => {
  discovery.stop();
  await fixture.operator.stop();
  await Promise.all(tenants.map(async ({ client }) => await client.close()));
  await plane.stop();
});

// What they try. Each may be refused; what counts is what others see.

type Attempt = (tenant: Tenant, victims: Victims) => Promise<unknown>;

/** What anybody may know of the others: names, and uids of what they read in a forum. */
interface Victims {
  readonly shared: EmbeddingModel;
  readonly quiet: EmbeddingModel;
  readonly sharedService: KubeObject;
  readonly sharedDeployment: KubeObject;
  readonly sharedAddress: string;
  /** The namespace of the next tenant. */
  readonly neighbour: string;
}

const apply = async ({ client }: Tenant, type: ResourceType, body: KubeObject) =>
  await client.apply(type, body, { fieldManager: 'tenant', force: true });

const make = async (tenant: Tenant, type: ResourceType, name: string, rest: { spec?: object; metadata?: object }) =>
  await apply(tenant, type, object(tenant, type, name, rest));

const model = async (tenant: Tenant, name: string, spec: Partial<EmbeddingModelSpec>, metadata: object = {}) => {
  const made = manifest(name, { model: 'org/a', ...spec }, tenant.namespace);
  await apply(tenant, EMBEDDING_MODELS, { ...made, metadata: { ...made.metadata, ...metadata } });
};

const ownerOf = ({ apiVersion, kind, metadata }: KubeObject) => ({
  ...{ apiVersion, kind, name: metadata.name, uid: metadata.uid ?? '' },
  controller: true,
});

const object = (
  { namespace }: Tenant,
  { group, version, kind }: ResourceType,
  name: string,
  rest: { metadata?: object },
) => ({
  apiVersion: group === '' ? version : `${group}/${version}`,
  kind,
  ...rest,
  metadata: { name, namespace, ...rest.metadata },
});

const OPERATORS_LABELS = (name: string) => ({
  'app.kubernetes.io/name': 'kubembed',
  'app.kubernetes.io/component': 'runtime',
  'app.kubernetes.io/managed-by': 'kubembed-operator',
  'kubembed.dev/model': name,
});

const CONTAINER = { name: 'thief', image: 'thief' };
const PORTS = [{ name: 'http', port: 8080 }];

const pod = async (tenant: Tenant, name: string, labels: object) =>
  await make(tenant, PODS, name, { spec: { containers: [CONTAINER] }, metadata: { labels } });

const slice = async (tenant: Tenant, name: string, address: string, metadata: object) => {
  const endpoints = [{ addresses: [address], conditions: { ready: true } }];
  const rest = { addressType: 'IPv4', ports: PORTS, endpoints, metadata };
  await apply(tenant, ENDPOINT_SLICES, object(tenant, ENDPOINT_SLICES, name, rest));
};

const ATTEMPTS: Readonly<Record<string, Attempt>> = {
  'names of the list': async (tenant) => await model(tenant, 'greedy', { servedNames: ['org/a', 'shared', 'org/b'] }),
  'names of the list in other case': async (tenant) =>
    await model(tenant, 'loud', { servedNames: ['ORG/A', 'Shared', 'Quiet/Search'], replicas: 1 }),
  'the id itself': async (tenant) => await model(tenant, 'org--a', { servedNames: ['org/a'], replicas: 0 }),
  'a name of another team': async (tenant) =>
    await model(tenant, 'search', { servedNames: ['quiet/search'], replicas: 1 }),
  'a model that is not listed': async (tenant) =>
    await model(tenant, 'unlisted', { model: 'org/else', servedNames: ['shared'] }),
  'the catalog’s label': async (tenant) =>
    await model(tenant, 'of-the-list', { servedNames: ['shared'] }, { labels: { 'kubembed.dev/catalog': 'list' } }),
  'another release': async (tenant, { neighbour }) => {
    const release = { 'kubembed.dev/release': `${neighbour}/kubembed-operator` };
    await model(tenant, 'elsewhere', { servedNames: ['shared'] }, { annotations: release });
  },
  'an owner elsewhere': async (tenant, { shared }) =>
    await model(tenant, 'child', { servedNames: ['shared'] }, { ownerReferences: [ownerOf(shared)] }),
  'a finalizer that never ends': async (tenant) => {
    await model(tenant, 'undead', { servedNames: ['shared'] }, { finalizers: ['tenant.example.com/never'] });
    await tenant.client.delete(EMBEDDING_MODELS, { namespace: tenant.namespace, name: 'undead' });
  },
  'a status of its own': async (tenant) => {
    await model(tenant, 'liar', { servedNames: [`${tenant.namespace}/liar`] });
    const now = new Date().toISOString();
    const accepted = { type: 'Accepted', status: 'True', reason: 'Accepted', message: '', lastTransitionTime: now };
    const status = { servedNames: ['shared', 'org/b'], conditions: [accepted] };
    const key = { namespace: tenant.namespace, name: 'liar' };
    await tenant.client.patch(EMBEDDING_MODELS, key, { status }, { subresource: 'status' });
  },
  'pods of other labels': async (tenant) =>
    await model(tenant, 'dressed', {
      servedNames: [`${tenant.namespace}/dressed`],
      podTemplate: { metadata: { labels: { 'kubembed.dev/model': 'org--a' } }, spec: { hostNetwork: true } },
    }),
  'other containers': async (tenant) =>
    await model(tenant, 'cuckoo', {
      servedNames: [`${tenant.namespace}/cuckoo`],
      podTemplate: { spec: { serviceAccountName: 'default', containers: [{ name: 'thief', image: 'thief' }] } },
    }),
  'what is not theirs, changed': async ({ client }, { shared }) => {
    const key = { namespace: shared.metadata.namespace ?? '', name: shared.metadata.name };
    await client.patch(EMBEDDING_MODELS, key, { spec: { replicas: 0 } });
  },
  'what is not theirs, deleted': async ({ client }, { quiet }) =>
    await client.delete(EMBEDDING_MODELS, { namespace: quiet.metadata.namespace ?? '', name: quiet.metadata.name }),
  'a model among the neighbour’s': async (tenant, { neighbour }) =>
    await model({ ...tenant, namespace: neighbour }, 'planted', { servedNames: ['shared'] }),
  'a Service in front of their pods': async (tenant) => {
    await pod(tenant, 'thief', OPERATORS_LABELS('org--a'));
    const spec = { selector: { 'kubembed.dev/model': 'org--a' }, ports: PORTS };
    for (const name of ['em-org--a', 'em-search', 'kubembed'])
      await make(tenant, SERVICES, name, { spec, metadata: { labels: OPERATORS_LABELS('org--a') } });
  },
  'slices of the shared Service': async (tenant, { sharedService }) =>
    await slice(tenant, 'stolen', '10.9.9.9', {
      labels: { ...OPERATORS_LABELS('org--a'), 'kubernetes.io/service-name': 'em-org--a' },
      ownerReferences: [ownerOf(sharedService)],
    }),
  'slices of their own with others’ addresses': async (tenant, { sharedAddress }) =>
    await slice(tenant, 'pointing', sharedAddress, { labels: OPERATORS_LABELS('search') }),
  'pods of the shared Deployment': async (tenant, { sharedDeployment }) => {
    const metadata = { labels: OPERATORS_LABELS('org--a'), ownerReferences: [ownerOf(sharedDeployment)] };
    await make(tenant, PODS, 'adopted', { spec: { containers: [CONTAINER] }, metadata });
  },
  'a Service that says it was made for the shared model': async (tenant, { shared }) => {
    const labels = { ...OPERATORS_LABELS('org--a'), 'kubembed.dev/model-uid': shared.metadata.uid ?? '' };
    await make(tenant, SERVICES, 'em-posing', { spec: { selector: labels, ports: PORTS }, metadata: { labels } });
  },
  'children by hand': async (tenant) => {
    const labels = OPERATORS_LABELS('org--a');
    const metadata = { labels, annotations: { 'kubembed.dev/release': `${NAMESPACE}/kubembed-operator` } };
    const template = { metadata: { labels }, spec: { containers: [CONTAINER] } };
    const spec = { replicas: 2, selector: { matchLabels: labels }, template };
    await make(tenant, DEPLOYMENTS, 'em-org--a', { spec, metadata });
    const job = { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } };
    await make(tenant, JOBS, 'em-org--b-prefetch', { spec: job, metadata: { labels } });
  },
  'children of an owner elsewhere': async (tenant, { shared }) => {
    const labels = OPERATORS_LABELS('search');
    const spec = { selector: labels, ports: PORTS };
    const metadata = { labels, ownerReferences: [ownerOf(shared)] };
    await make(tenant, SERVICES, 'em-greedy', { spec, metadata });
  },
  'deletion of all that the operator made for them': async (tenant) => {
    await model(tenant, 'fickle', { servedNames: [`${tenant.namespace}/fickle`], replicas: 1 });
    for (let round = 0; round < 5; round += 1)
      for (const type of [DEPLOYMENTS, SERVICES] as readonly ResourceType[])
        await ifPresent(tenant.client.delete(type, { namespace: tenant.namespace, name: 'em-fickle' }));
  },
  'many names and long prompts': async (tenant) => {
    const servedNames = Array.from({ length: 32 }, (_, index) => `${tenant.namespace}/name-${index}`);
    const prompts = Object.fromEntries(servedNames.map((name) => [name, `${'x'.repeat(4_000)} `]));
    await model(tenant, 'talkative', { servedNames, prompts });
  },
  'to have none again': async (tenant) => {
    await model(tenant, 'brief', { servedNames: ['shared', `${tenant.namespace}/brief`], replicas: 1 });
    await tenant.client.delete(EMBEDDING_MODELS, { namespace: tenant.namespace, name: 'brief' });
  },
};

/** Makers at work at the same time. */
const AT_ONCE = 8;

async function inParallel(work: readonly (() => Promise<void>)[]): Promise<void> {
  const limit = pLimit(AT_ONCE);
  await Promise.all(work.map(async (one) => await limit(one)));
}

/** Whether it was let through. */
async function succeeds(attempt: Promise<unknown>): Promise<boolean> {
  try {
    await attempt;
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

async function victims(neighbour: string, known: RouteTable): Promise<Victims> {
  const shared = (await find(EMBEDDING_MODELS, NAMESPACE, 'org--a'))!;
  const quiet = (await find(EMBEDDING_MODELS, QUIET, 'search'))!;
  const sharedService = (await find(SERVICES, NAMESPACE, 'em-org--a'))!;
  const sharedDeployment = (await find(DEPLOYMENTS, NAMESPACE, 'em-org--a'))!;
  const [endpoint] = known.byFoldedName.get('shared')!.endpoints;
  return { shared, quiet, sharedService, sharedDeployment, sharedAddress: endpoint!.id.split(':')[0]!, neighbour };
}

/** Where every name leads by what the server holds now, once the operator has nothing more to say. */
async function tableNow(client: KubeClient): Promise<RouteTable> {
  const [models, slices] = await Promise.all([client.list(EMBEDDING_MODELS), client.list(ENDPOINT_SLICES)]);
  return buildTable(models.items, slices.items);
}

describe(`${TENANTS} teams`, () => {
  test('change nothing that others see, and get no text of theirs', async () => {
    const first = table;
    const startedAt = performance.now();
    const say = (what: string): void =>
      console.log(`${what} after ${Math.round((performance.now() - startedAt) / 1000)} s`);
    const [before, wanted] = [await versions(), seenIn(first)];
    for (const [name, key] of Object.entries(PROTECTED)) expect(wanted[name]).toMatch(new RegExp(`^${key} org/[ab]`));
    noticed.clear();
    sleepers.clear();
    const letThrough = new Map<string, number>();
    await Promise.all(
      tenants.map(async (tenant, index) => {
        const known = await victims(tenants[(index + 1) % tenants.length]!.namespace, first);
        for (const [name, attempt] of Object.entries(ATTEMPTS))
          if (await succeeds(attempt(tenant, known))) letThrough.set(name, (letThrough.get(name) ?? 0) + 1);
      }),
    );
    say(`${TENANTS} teams have tried ${Object.keys(ATTEMPTS).length} things each`);
    // All that is theirs to try was tried, and what is not theirs was refused by the API server itself.
    const refused = ['a status of its own', 'what is not theirs, changed', 'what is not theirs, deleted'];
    for (const name of [...refused, 'a model among the neighbour’s']) expect(letThrough.has(name)).toBe(false);
    for (const name of ['names of the list', 'slices of the shared Service', 'children by hand'])
      expect(letThrough.get(name)).toBe(TENANTS);

    // A model of the list wakes while one of them makes more than anybody needs.
    const [flooding] = tenants;
    const flood = Array.from({ length: FLOOD }, (_, index) => async () => {
      await model(flooding!, `flood-${index}`, { servedNames: [`${flooding!.namespace}/flood-${index}`] });
    });
    await inParallel(flood.splice(0, FLOOD / 2));
    demand.state(`${NAMESPACE}/org--b`, { offeredRequests: 1, queuedRequests: 1, activations: 1 });
    const woken = vi.waitFor(async () => await isAwake(NAMESPACE, 'org--b'), patient);
    await inParallel(flood);
    await woken;
    say(`${FLOOD} models are made, and another team's has woken`);
    await vi.waitFor(async () => {
      const { items } = await plane.admin.list(EMBEDDING_MODELS, { namespace: flooding!.namespace });
      const mine = items.filter(({ metadata }) => metadata.name.startsWith('flood-'));
      expect(mine).toHaveLength(FLOOD);
      for (const { status } of mine) expect(findCondition(status?.conditions, 'Accepted')?.status).toBe('True');
    }, crowded);
    say('all of them are accepted');

    expect([...noticed]).toEqual([JSON.stringify(asleep(wanted))]);
    expect([...sleepers]).toEqual([PROTECTED['org/b']]);
    // What it is made of when it is first asked for.
    const others = (all: Readonly<Record<string, unknown>>) =>
      Object.fromEntries(Object.entries(all).filter(([id]) => !id.endsWith(` ${NAMESPACE}/em-org--b`)));
    expect(others(await versions())).toEqual(others(before));
  }, 1_800_000);

  test('are served by their own pods alone', async () => {
    const pods = await plane.admin.list(PODS);
    const namespaceOf = new Map(pods.items.map(({ metadata, status }) => [status?.podIP, metadata.namespace]));
    const { byKey } = await tableNow(plane.admin);
    for (const { key, endpoints, starting } of byKey.values())
      for (const { id } of [...endpoints, ...starting])
        expect([key, `${namespaceOf.get(id.split(':')[0])}`]).toEqual([key, key.split('/')[0]]);
    expect(byKey.size).toBeGreaterThan(FLOOD);
  });

  test('are told in words what they do not get', async () => {
    for (const { namespace } of tenants) {
      const greedy = await find(EMBEDDING_MODELS, namespace, 'greedy');
      expect(findCondition(greedy?.status?.conditions, 'Accepted')).toMatchObject({
        status: 'False',
        reason: 'NameTaken',
        message: expect.stringContaining('shared belongs to line 1 of the list') as string,
      });
    }
  });
});
