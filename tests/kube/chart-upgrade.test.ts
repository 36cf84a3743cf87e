// The chart's life on a real API server, by helm: an older CRD is upgraded, models outlive the release, and a new one takes them over.
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { manifest } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { CHART, execute, LOCAL_IMAGES } from '../helpers/helm.ts';
import { MINILM } from '../helpers/minilm.ts';

interface Schema {
  readonly properties: Record<string, Schema>;
}
interface Crd {
  readonly spec: {
    readonly versions: readonly [{ additionalPrinterColumns: readonly object[]; schema: { openAPIV3Schema: Schema } }];
  };
}

const CRD = 'embeddingmodels.kubembed.dev';
const KEY = { namespace: 'kubembed', name: 'search' };

let plane: ControlPlane;
let older: string;

const helm = async (...args: readonly string[]): Promise<string> =>
  await execute('helm', [...args, '--namespace', 'kubembed'], { kubeconfig: plane.kubeconfig });
/** Of install and upgrade. */
const VALUES = ['--values', LOCAL_IMAGES];

/** The chart as it was before a field and a column came to the CRD. */
async function olderChart(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-older-chart-'));
  await cp(CHART, folder, { recursive: true });
  const file = join(folder, 'files', 'crds', 'embeddingmodels.yaml');
  const crd = parse(await readFile(file, 'utf8')) as Crd;
  const [version] = crd.spec.versions;
  delete version.schema.openAPIV3Schema.properties['spec']?.properties['overlongInput'];
  version.additionalPrinterColumns = version.additionalPrinterColumns.slice(0, 2);
  await writeFile(file, stringify(crd));
  return folder;
}

const columns = async (): Promise<number> => {
  const crd = JSON.parse(await plane.kubectl(['get', 'crd', CRD, '-o', 'json'])) as Crd;
  return crd.spec.versions[0].additionalPrinterColumns.length;
};
const uid = async (): Promise<string | undefined> => (await plane.admin.get(EMBEDDING_MODELS, KEY)).metadata.uid;
const setOverlong = async (): Promise<unknown> =>
  (await plane.admin.patch(EMBEDDING_MODELS, KEY, { spec: { overlongInput: 'error' } })).spec.overlongInput;

beforeAll(async () => {
  plane = await startControlPlane();
  older = await olderChart();
});
afterAll(async () => {
  await plane.stop();
  await rm(older, { recursive: true });
});

it('upgrades the CRD under the models that exist, which outlive the release and are served by the next', async () => {
  const notes = await helm('install', 'kubembed', older, '--create-namespace', ...VALUES);
  expect(notes).toContain('port-forward service/kubembed 8080:80');
  expect(notes).toContain('curl http://localhost:8080/v1/embeddings');
  await plane.kubectl(['wait', '--for=condition=Established', `crd/${CRD}`, '--timeout=30s']);
  await plane.admin.create(EMBEDDING_MODELS, manifest(KEY.name, { model: MINILM }, KEY.namespace));
  const [born, narrow] = [await uid(), await columns()];
  expect(await setOverlong()).toBeUndefined();

  await helm('upgrade', 'kubembed', CHART, ...VALUES);
  expect(await columns()).toBeGreaterThan(narrow);
  await expect.poll(setOverlong, { timeout: 30_000 }).toBe('error');

  await helm('uninstall', 'kubembed');
  expect(await uid()).toBe(born);
  expect(await plane.kubectl(['get', 'deploy', '-n', KEY.namespace, '-o', 'name'])).toBe('');

  await helm('install', 'kubembed', CHART, ...VALUES);
  expect(await uid()).toBe(born);
  expect(await plane.kubectl(['get', 'deploy', '-n', KEY.namespace, '-o', 'name'])).toContain('kubembed-operator');
});

it('follows a list that somebody else keeps and edits, through upgrades; what an uninstalled release leaves is what the page says', async () => {
  const text = 'supported_models.txt';
  await plane.kubectl(['create', 'configmap', 'ours', '-n', KEY.namespace, `--from-literal=${text}=org/a`]);
  const kept = [...VALUES, '--set', 'catalog.existingConfigMap=ours'];
  await helm('upgrade', 'kubembed', CHART, ...kept);
  const patch = JSON.stringify({ data: { [text]: 'org/a\norg/b' } });
  await plane.kubectl(['patch', 'configmap', 'ours', '-n', KEY.namespace, '--type=merge', '-p', patch]);
  await helm('upgrade', 'kubembed', CHART, ...kept, '--set', 'router.replicas=3');
  const data = ['get', 'configmap', 'ours', '-n', KEY.namespace, '-o', 'jsonpath={.data}'];
  expect(JSON.parse(await plane.kubectl(data))).toEqual({ [text]: 'org/a\norg/b' });

  await helm('uninstall', 'kubembed');
  const kinds = ['validatingadmissionpolicy', 'validatingadmissionpolicybinding', 'crd', 'clusterrole'];
  const left = await plane.kubectl(['get', [...kinds, 'clusterrolebinding'].join(), '-o', 'name']);
  expect(left.split('\n').filter((line) => line.includes('kubembed'))).toEqual([
    'validatingadmissionpolicy.admissionregistration.k8s.io/kubembed-kubembed-supported-models-anchor',
    'validatingadmissionpolicybinding.admissionregistration.k8s.io/kubembed-kubembed-supported-models-anchor',
    `customresourcedefinition.apiextensions.k8s.io/${CRD}`,
  ]);
});
