// The OpenAPI documents of runtime and router are true: schemathesis makes requests from them, good and bad, and finds nothing.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MODEL, startService } from '../helpers/openai-service.ts';
import type { Service } from '../helpers/openai-service.ts';
import { installPythonTools } from '../helpers/python-tools.ts';
import { schemathesis } from '../helpers/schemathesis.ts';
import { eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';

let service: Service;
let cluster: StubCluster;

beforeAll(async () => {
  await installPythonTools();
  service = await startService();
  cluster = await startStubCluster();
  await cluster.model('model', { spec: { model: MODEL } });
  await cluster.endpoints('model', [service.port]);
  await eventually(async () => {
    const { data } = (await (await fetch(`${cluster.router.url}/v1/models`)).json()) as {
      data: { ready_endpoints: number }[];
    };
    return data[0]?.ready_endpoints === 1;
  });
});
afterAll(async () => {
  await cluster.close();
  await service[Symbol.asyncDispose]();
});

const limits = { id: MODEL, dimensions: 384, vocabulary: 30_522 };

it.each([
  ['runtime', () => service.url],
  ['router', () => cluster.router.url],
])('of the %s', { timeout: 400_000 }, async (_name, url) => {
  const { clean, report } = await schemathesis(url(), limits);
  expect(clean, report).toBe(true);
  const cases = Number(/(\d+) generated/.exec(report)?.[1]);
  expect(cases, report).toBeGreaterThan(200);
});
