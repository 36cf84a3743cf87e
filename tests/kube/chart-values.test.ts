// The chart with the values of real clusters: what differs from the defaults was reviewed, a server takes all of it, and operator and
// router understand what they are given.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { readOperatorConfig } from '../../operator/config.ts';
import { readRouterConfig } from '../../router/config.ts';
import { canonicalJson } from '../../operator/manifests/manifest.ts';
import type { Deployment } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { establishOptional } from '../helpers/optional-kinds.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { renderChart } from '../helpers/helm.ts';

const VALUES = join(import.meta.dirname, 'values');
const FILES = globSync('*.yaml', { cwd: VALUES }).sort();

const objectsOf = (text: string): readonly KubeObject[] =>
  parseAllDocuments(text).flatMap((document) => {
    const object = document.toJS() as KubeObject | null;
    return object === null ? [] : [object];
  });
const idOf = ({ kind, metadata }: KubeObject): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
const render = async (file?: string): Promise<string> =>
  await renderChart({}, ['--no-hooks', ...(file === undefined ? [] : ['--values', join(VALUES, file)])]);

let defaults: ReadonlyMap<string, KubeObject>;
let controlPlane: ControlPlane;

beforeAll(async () => {
  defaults = new Map(objectsOf(await render()).map((object) => [idOf(object), object]));
  controlPlane = await startControlPlane({ dualStack: true });
  await controlPlane.kubectl(['create', 'namespace', 'kubembed']);
  await establishOptional(controlPlane);
});

afterAll(async () => await controlPlane.stop());

function variablesOf(objects: readonly KubeObject[], component: string): Record<string, string> {
  const deployment = objects.find(
    ({ kind, metadata }) => kind === 'Deployment' && metadata.labels?.['app.kubernetes.io/component'] === component,
  ) as Deployment;
  const container = deployment.spec.template.spec.containers.find(({ name }) => name === component);
  return Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value ?? 'pod']));
}

describe('of real clusters', () => {
  it('are at least twenty, each of which says what it is', () => {
    expect(FILES.length).toBeGreaterThanOrEqual(20);
    for (const file of FILES) expect(readFileSync(join(VALUES, file), 'utf8')).toMatch(/^# .+\.\n/);
  });

  it.each(FILES)('%s', async (file) => {
    const text = await render(file);
    const objects = objectsOf(text);
    const there = new Set(objects.map(idOf));
    const changed = objects.filter((object) => canonicalJson(object) !== canonicalJson(defaults.get(idOf(object))));
    const golden = [
      ...[...defaults.keys()].filter((id) => !there.has(id)).map((id) => `# without ${id}\n`),
      ...changed.map((object) => stringify(object, { lineWidth: 0, sortMapEntries: true })),
    ];
    await expect(golden.join('---\n')).toMatchFileSnapshot(`golden/values/${basename(file)}`);
    readOperatorConfig(variablesOf(objects, 'operator'));
    readRouterConfig(variablesOf(objects, 'router'));
    const apply = ['apply', '--server-side', '--dry-run=server', '--validate=strict', '-n', 'kubembed', '-f', '-'];
    expect((await controlPlane.kubectl(apply, text)).trim().split('\n')).toHaveLength(objects.length);
  });

  it('one-namespace.yaml needs nothing of the cluster', async () => {
    const outside = objectsOf(await render('one-namespace.yaml')).filter(
      ({ metadata }) => metadata.namespace !== 'kubembed',
    );
    expect(outside.map(idOf)).toEqual([]);
  });
});
