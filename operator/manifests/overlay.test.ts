import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { POD_TEMPLATE, overlay, overlayFaults } from './overlay.ts';

const lay = (base: object, patch: object): unknown =>
  (overlay({ spec: base }, { spec: patch }, POD_TEMPLATE) as { spec: unknown }).spec;

describe('as Kubernetes merges', () => {
  test.each<[string, object, object, object]>([
    [
      'maps, field by field',
      { nodeSelector: { a: '1', b: '2' } },
      { nodeSelector: { b: '3' } },
      { nodeSelector: { a: '1', b: '3' } },
    ],
    ['null away', { securityContext: { a: 1, b: 2 } }, { securityContext: { a: null } }, { securityContext: { b: 2 } }],
    ['a whole field away', { affinity: { a: 1 } }, { affinity: { $patch: 'delete' } }, {}],
    ['a map replaced', { affinity: { a: 1 } }, { affinity: { $patch: 'replace', b: 2 } }, { affinity: { b: 2 } }],
    [
      'tolerations replaced',
      { tolerations: [{ key: 'a' }] },
      { tolerations: [{ key: 'b' }] },
      { tolerations: [{ key: 'b' }] },
    ],
    [
      'containers by name',
      { containers: [{ name: 'a', image: 'x' }, { name: 'b' }] },
      { containers: [{ name: 'b', args: ['1'] }, { name: 'c' }] },
      { containers: [{ name: 'a', image: 'x' }, { name: 'b', args: ['1'] }, { name: 'c' }] },
    ],
    [
      'a newcomer before the one it stands before',
      { initContainers: [{ name: 'fetch', image: 'x' }] },
      { initContainers: [{ name: 'mesh' }, { name: 'fetch' }] },
      { initContainers: [{ name: 'mesh' }, { name: 'fetch', image: 'x' }] },
    ],
    [
      'an item away',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      { containers: [{ name: 'a', $patch: 'delete' }] },
      { containers: [{ name: 'b' }] },
    ],
    [
      'a list by keys replaced',
      { containers: [{ name: 'a', env: [{ name: 'A', value: '1' }] }] },
      { containers: [{ name: 'a', env: [{ $patch: 'replace' }, { name: 'B', value: '2' }] }] },
      { containers: [{ name: 'a', env: [{ name: 'B', value: '2' }] }] },
    ],
    [
      'a variable with a source instead of a value',
      {
        containers: [
          {
            name: 'a',
            env: [
              { name: 'A', value: '1' },
              { name: 'B', value: '2' },
            ],
          },
        ],
      },
      { containers: [{ name: 'a', env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's' } } }] }] },
      {
        containers: [
          {
            name: 'a',
            env: [
              { name: 'A', valueFrom: { secretKeyRef: { name: 's' } } },
              { name: 'B', value: '2' },
            ],
          },
        ],
      },
    ],
    [
      'a volume of another kind',
      {
        volumes: [
          { name: 'store', emptyDir: {} },
          { name: 'tmp', emptyDir: {} },
        ],
      },
      { volumes: [{ name: 'store', hostPath: { path: '/x' } }] },
      {
        volumes: [
          { name: 'store', hostPath: { path: '/x' } },
          { name: 'tmp', emptyDir: {} },
        ],
      },
    ],
    [
      'mounts by path, ports by number and protocol',
      {
        containers: [
          { name: 'a', volumeMounts: [{ name: 'x', mountPath: '/x' }], ports: [{ name: 'http', containerPort: 1 }] },
        ],
      },
      {
        containers: [
          { name: 'a', volumeMounts: [{ name: 'y', mountPath: '/x' }], ports: [{ containerPort: 1, protocol: 'UDP' }] },
        ],
      },
      {
        containers: [
          {
            name: 'a',
            volumeMounts: [{ name: 'y', mountPath: '/x' }],
            ports: [
              { name: 'http', containerPort: 1 },
              { containerPort: 1, protocol: 'UDP' },
            ],
          },
        ],
      },
    ],
    [
      'spreading by topology',
      { topologySpreadConstraints: [{ topologyKey: 'h', maxSkew: 1, whenUnsatisfiable: 'ScheduleAnyway' }] },
      { topologySpreadConstraints: [{ topologyKey: 'h', whenUnsatisfiable: 'DoNotSchedule' }, { topologyKey: 'z' }] },
      {
        topologySpreadConstraints: [
          { topologyKey: 'h', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' },
          { topologyKey: 'z' },
        ],
      },
    ],
  ])('%s', (_what, base, patch, result) => {
    expect(overlayFaults({ spec: patch }, POD_TEMPLATE)).toEqual([]);
    expect(lay(base, patch)).toEqual(result);
  });
});

test.each<[object, string]>([
  [{ containers: { runtime: {} } }, 'spec.containers: must be a list'],
  [{ containers: [{ name: 'a', env: ['A=1'] }] }, 'spec.containers[0].env[0]: must be an object with name'],
  [{ volumes: [{ emptyDir: {} }] }, 'spec.volumes[0].name: required'],
  [{ nodeSelector: { $patch: 'add' } }, 'spec.nodeSelector.$patch: must be one of merge, replace, delete'],
  [{ volumes: [{ name: 'a', $retainKeys: [] }] }, 'spec.volumes[0].$retainKeys: unknown directive; known is $patch'],
  [{ tolerations: [{ $patch: 'replace' }] }, 'spec.tolerations[0].$patch: this list is replaced as a whole'],
])('%j cannot be laid over anything', (spec, fault) => {
  expect(overlayFaults({ spec }, POD_TEMPLATE)).toEqual([fault]);
});

describe('whatever the templates say', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const variables = fc.array(fc.record({ name, value: fc.string({ maxLength: 3 }) }), { maxLength: 4 });
  const container = fc.record(
    { name, image: name, env: variables, args: fc.array(name, { maxLength: 2 }) },
    { requiredKeys: ['name'] },
  );
  const labels = fc.dictionary(name, name, { maxKeys: 3 });
  const template = fc.record({
    metadata: fc.record({ labels }, { requiredKeys: [] }),
    spec: fc.record(
      {
        containers: fc.array(container, { maxLength: 4 }),
        nodeSelector: labels,
        tolerations: fc.array(fc.record({ key: name })),
      },
      { requiredKeys: [] },
    ),
  });
  type Template = typeof template extends fc.Arbitrary<infer T> ? T : never;
  const laid = (...layers: unknown[]): Template =>
    layers.reduce((below, layer) => overlay(below, layer, POD_TEMPLATE), {}) as Template;
  const namesOf = (items: readonly { readonly name: string }[] = []) => items.map((item) => item.name);

  test('each container, and each variable in it, is there once', () => {
    fc.assert(
      fc.property(template, template, (below, above) => {
        const { containers = [] } = laid(below, above).spec;
        for (const list of [namesOf(containers), ...containers.map(({ env }) => namesOf(env))])
          expect(new Set(list).size).toBe(list.length);
        const said = [...(below.spec.containers ?? []), ...(above.spec.containers ?? [])];
        expect(new Set(namesOf(containers))).toEqual(new Set(namesOf(said)));
      }),
    );
  });

  test('laid once or twice over the same is the same, and nothing changes nothing', () => {
    fc.assert(
      fc.property(template, template, (below, above) => {
        const once = laid(below, above);
        expect(laid(once, above)).toEqual(once);
        expect(laid(once, {})).toEqual(once);
      }),
    );
  });

  test('three at once are the first two and then the third, or the first and then the last two', () => {
    fc.assert(
      fc.property(template, template, template, (a, b, c) => {
        const { spec, metadata } = laid(a, laid(b, c));
        const other = laid(a, b, c);
        expect(metadata).toEqual(other.metadata);
        expect({ ...spec, containers: new Set(namesOf(spec.containers)) }).toEqual({
          ...other.spec,
          containers: new Set(namesOf(other.spec.containers)),
        });
      }),
    );
  });

  test('what is taken away is gone', () => {
    fc.assert(
      fc.property(template, name, (below, gone) => {
        const patch = { spec: { containers: [{ name: gone, $patch: 'delete' }], nodeSelector: { [gone]: null } } };
        const { spec } = laid(below, patch);
        expect(namesOf(spec.containers)).not.toContain(gone);
        expect(spec.nodeSelector ?? {}).not.toHaveProperty(gone);
      }),
    );
  });

  test('anything at all is laid over or named as a fault, and nothing throws', () => {
    fc.assert(
      fc.property(template, fc.jsonValue(), (below, anything) => {
        overlayFaults(anything, POD_TEMPLATE);
        overlay(below, anything, POD_TEMPLATE);
      }),
    );
  });
});
