// `kubembed status --cluster`: what it reads from a real API server.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { runCli } from '../helpers/cli.ts';
import type { CliResult } from '../helpers/cli.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';

let plane: ControlPlane | undefined;
beforeAll(async () => {
  plane = await startControlPlane();
  await plane.kubectl([
    'apply',
    '--server-side',
    '-f',
    new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname,
  ]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd/embeddingmodels.kubembed.dev']);
  const metadata = { name: 'one', namespace: 'default' };
  const base = { apiVersion: 'kubembed.dev/v1alpha1', kind: 'EmbeddingModel', metadata };
  await plane.admin.apply(EMBEDDING_MODELS, { ...base, spec: { model: 'tiny/one', device: 'cpu' } } as never, {
    fieldManager: 't',
  });
  const condition = (type: string, reason: string) => ({
    type,
    reason,
    status: 'True',
    message: `${reason}.`,
    lastTransitionTime: '2026-01-01T00:00:00Z',
  });
  const status = {
    replicas: 2,
    readyReplicas: 1,
    conditions: [condition('Accepted', 'Accepted'), condition('Ready', 'Ready')],
  };
  await plane.admin.apply(EMBEDDING_MODELS, { ...base, status } as never, {
    fieldManager: 's',
    subresource: 'status',
  });
});
afterAll(async () => await plane?.stop());

const cluster = async (...args: string[]): Promise<CliResult> =>
  await runCli(['status', '--cluster', ...args], { env: { KUBECONFIG: plane!.kubeconfig } });

it('reads EmbeddingModels through the kubeconfig', async () => {
  const { code, out, error } = await cluster();
  expect(code, error).toBe(0);
  expect(out.split('\n')[0]).toMatch(/^MODEL +DEVICE +READY +REPLICAS +AGE +REASON$/);
  expect(out).toMatch(/^tiny\/one +cpu +True +1\/2 +\d+s +Ready$/m);
  expect((await cluster('one')).out).toMatch(/^Accepted +True +Accepted +Accepted\.$/m);
  const view = JSON.parse((await cluster('-A', '--json')).out) as { models: unknown };
  expect(view.models).toMatchObject([{ model: 'tiny/one', state: 'ready', resource: 'default/one' }]);
  expect((await cluster('-n', 'kube-system')).out).toMatch(/^No models at https:/);
});

it('says so when there is no cluster', async () => {
  const away = await runCli(['status', '--cluster'], { env: { KUBECONFIG: '/nonexistent' } });
  expect(away).toMatchObject({ code: 1, error: expect.stringContaining('No cluster') as string });
});
