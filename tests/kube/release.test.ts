// What a release is made of, as far as it goes without an account: the workflows by actionlint, the chart as it would be pushed.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { EmbeddingModel } from '../../api/types.ts';
import { embeddingModelFaults } from '../../local/files.ts';
import { goProgram } from '../../tools/cluster/build.ts';
import { binaries, execute } from '../helpers/helm.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');

let out: string;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'kubembed-release-'));
});
afterAll(async () => await rm(out, { recursive: true }));

it('actionlint has nothing to say of the workflows', async () => {
  const workflows = (await readdir(join(ROOT, '.github', 'workflows'))).map((name) =>
    join(ROOT, '.github/workflows', name),
  );
  const env = { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '' };
  const options = { cwd: join(ROOT, 'tools', 'release', 'go'), env };
  const { stdout } = await run(
    goProgram(process.env),
    ['tool', 'actionlint', '-no-color', ...workflows],
    options,
  ).catch((error: unknown) => error as { stdout: string });
  expect(stdout).toBe('');
});

it('the example for Artifact Hub is what the CRD takes', async () => {
  const chart = parse(await readFile(join(ROOT, 'charts', 'kubembed', 'Chart.yaml'), 'utf8')) as {
    annotations: Readonly<Record<string, string>>;
  };
  const [example] = parse(chart.annotations['artifacthub.io/crdsExamples'] ?? '') as EmbeddingModel[];
  expect(embeddingModelFaults(example!)).toEqual([]);
});

it('the chart that is pushed has the registry of the repository and its links', async () => {
  const env = {
    ...process.env,
    PATH: [binaries(), process.env['PATH']].join(delimiter),
    ...{ DRY_RUN: '1', GITHUB_REPOSITORY: 'Some-Body/Embed', OUT: out },
  };
  const { stdout } = await run(join(ROOT, 'tools', 'release', 'chart.sh'), [], { env });
  expect(stdout).toMatch(/^helm push \S+\/kubembed-0\.1\.0\.tgz oci:\/\/ghcr\.io\/some-body\/embed\/charts *$/m);
  expect(stdout).toContain('cosign sign --yes ghcr.io/some-body/embed/charts/kubembed@');

  const archive = join(out, 'kubembed-0.1.0.tgz');
  const rendered = await execute('helm', ['template', 'k', archive, '--set', 'metrics.prometheusRule.enabled=true']);
  expect(rendered).toContain('image: ghcr.io/some-body/embed/kubembed/operator:0.1.0');
  expect(rendered).toContain('https://github.com/Some-Body/Embed/blob/v0.1.0/docs/runbooks/KubembedRouterDown.md');
  const about = await execute('helm', ['show', 'chart', archive]);
  expect(about).toContain('home: https://github.com/Some-Body/Embed');
  expect(about).toContain('image: ghcr.io/some-body/embed/kubembed/runtime-gpu:0.1.0');
});
