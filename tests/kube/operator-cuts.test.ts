// The operator killed at each of its writes, beside the real controllers: whoever follows ends in the same state.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { diesAtWrite, startFaultProxy } from '../helpers/fault-proxy.ts';
import type { Fault, FaultProxy, Rule } from '../helpers/fault-proxy.ts';
import { runOperator, statedDemand } from '../helpers/operator-fixture.ts';
import { createWorld, openNamespace, recordLife, repeatLife } from '../helpers/operator-lives.ts';
import type { Picture, World } from '../helpers/operator-lives.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
/** Every so many writes one life with a single death; `npm run test:cuts` takes them all. */
const STRIDE = Number(process.env['CUT_STRIDE'] ?? 15);
const AT_ONCE = 4;
const PASS_MS = 900_000;

let plane: ControlPlane;
let proxy: FaultProxy;
let world: World;
let record: readonly Picture[];
let writes = 0;
const rules = new Map<string, Rule>();

beforeAll(async () => {
  plane = await startControlPlane({ controllers: true, fakeNodes: 8, crds: [CRD] });
  proxy = await startFaultProxy(plane);
  proxy.setRule((call) => rules.get(call.userAgent)?.(call));
  world = await createWorld(plane);
  await openNamespace(world, 'undisturbed');
  const { end } = await live('undisturbed', 'undisturbed');
  record = await recordLife(world, 'undisturbed');
  writes = proxy.calls.filter(({ write }) => write).length;
  await end();
});
afterAll(async () => {
  await world.stop();
  await plane.stop();
  await proxy.close();
});

async function live(namespace: string, agent: string) {
  const client = plane.client(agent, proxy.server);
  const { operator } = runOperator({
    client,
    demand: statedDemand().source,
    env: { KUBEMBED_NAMESPACE: namespace, KUBEMBED_WATCH_NAMESPACES: namespace },
  });
  return {
    end: async () => {
      await operator.stop();
      await client.close();
    },
  };
}

/** Operators one after another in one namespace: each lives until its rule kills it. */
async function succession(namespace: string, rulesOf: (life: number, died: () => void) => Rule | undefined) {
  let lives = 0;
  let over = false;
  let turn: Promise<void>;
  let deaths = 0;
  const next = async (): Promise<void> => {
    const agent = `${namespace}-${lives}`;
    const death = Promise.withResolvers<undefined>();
    const rule = rulesOf(lives, () => {
      deaths += 1;
      death.resolve(undefined);
    });
    lives += 1;
    if (rule) rules.set(agent, rule);
    const { end } = await live(namespace, agent);
    const heir = async (): Promise<void> => {
      await Promise.race([death.promise, stopping.promise]);
      await end();
      rules.delete(agent);
      if (!over) await next();
    };
    turn = heir();
  };
  const stopping = Promise.withResolvers<undefined>();
  await next();
  return {
    deaths: () => deaths,
    end: async () => {
      over = true;
      stopping.resolve(undefined);
      await turn;
    },
  };
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of left) await work(item);
    }),
  );
}

test('an undisturbed life ends each stage with what there should be', () => {
  const [created, , changed, anew, gone] = record.map((picture) => Object.keys(picture).sort());
  expect(created).toEqual(
    expect.arrayContaining(['PersistentVolumeClaim/em-full-cache', 'ConfigMap/em-full-revision']),
  );
  expect(created).toContain('EmbeddingModel/org--b');
  expect(changed).toContain('PodDisruptionBudget/em-full');
  expect(changed).not.toContain('Deployment/em-org--b');
  // The list's own adopts what an owner left behind; what nobody has asked for has no children.
  const isGone = (id: string): boolean => /\/em-org--(background|foreground)$/.test(id);
  expect(anew).toEqual(changed?.filter((id) => !isGone(id)));
  // Nobody has asked for it.
  expect(gone).toEqual(['EmbeddingModel/org--a']);
  expect(JSON.stringify(record)).not.toContain('nobody');
});

/** One life of the models, with as many operators as the rules leave behind. */
async function pass(namespace: string, rulesOf: (life: number, died: () => void) => Rule | undefined): Promise<number> {
  await openNamespace(world, namespace);
  const line = await succession(namespace, rulesOf);
  try {
    await repeatLife(world, namespace, record);
  } finally {
    await line.end();
  }
  return line.deaths();
}

const REQUEST_LOST: Fault = { kind: 'cut' };
const ANSWER_LOST: Fault = { kind: 'cutAnswer' };

test.concurrent.each([
  { kills: 'after every write', count: 1, fault: REQUEST_LOST },
  { kills: 'at every write, which lands but is never answered', count: 0, fault: ANSWER_LOST },
])(
  'an operator that dies $kills, again and again, still gets everything done',
  async ({ count, fault }) => {
    const deaths = await pass(`serial-${count}`, (_life, died) => diesAtWrite(count, fault, died));
    expect(deaths).toBeGreaterThan(writes / 3);
  },
  PASS_MS,
);

test(
  'after one death at a write, its request or its answer lost, the heir ends every stage in the same state',
  async () => {
    const points = Array.from({ length: writes }, (_, write) => write).filter((write) => write % STRIDE === 0);
    const cuts = points.flatMap((write) => [REQUEST_LOST, ANSWER_LOST].map((fault) => ({ write, fault })));
    console.log(`${cuts.length} lives with one death each, of ${writes} writes`);
    const failures: string[] = [];
    const survived: string[] = [];
    await inParallel(cuts, async ({ write, fault }) => {
      const namespace = `${fault.kind.toLowerCase()}-${write}`;
      try {
        const rulesOf = (life: number, died: () => void) => (life === 0 ? diesAtWrite(write, fault, died) : undefined);
        if ((await pass(namespace, rulesOf)) === 0) survived.push(namespace);
      } catch (error) {
        failures.push(`${namespace}: ${String(error)}`);
      }
    });
    expect(failures).toEqual([]);
    // How many writes a life takes varies a little: the last cut points may be beyond its end.
    expect(survived.length, `${survived.join(', ')} of ${writes} writes`).toBeLessThan(cuts.length * 0.3);
  },
  PASS_MS * Math.max(1, 15 / STRIDE),
);
