// The manifests and values of examples/ are what the shipped CRD, list of models and chart take.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { embeddingModelFaults } from '../../local/files.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { parseCatalog } from '../../api/catalog.ts';
import { renderChart } from '../helpers/helm.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (...path: readonly string[]): string => readFileSync(join(ROOT, ...path), 'utf8');
const manifests = readdirSync(join(ROOT, 'examples/kubernetes'));

describe('examples/kubernetes', () => {
  const { models } = parseCatalog(read('supported_models.txt'));

  it.each(manifests)('%s is valid, and its model may be loaded', (name) => {
    const manifest = parse(read('examples/kubernetes', name)) as EmbeddingModel;
    expect(embeddingModelFaults(manifest)).toEqual([]);
    expect([...models]).toContain(manifest.spec.model);
  });

  it('shows CPU, GPU, int8, scale to zero and names, each in a file', () => {
    expect(manifests.sort()).toEqual(['cpu.yaml', 'gpu.yaml', 'int8.yaml', 'names.yaml', 'scale-to-zero.yaml']);
  });
});

it("examples/monitoring/values.yaml switches on the chart's monitors, alerts and dashboard", async () => {
  const chart = await renderChart({}, ['--values', join(ROOT, 'examples/monitoring/values.yaml')]);
  const kinds = parseAllDocuments(chart).map((document) => (document.toJS() as { kind: string } | null)?.kind);
  expect(kinds).toEqual(expect.arrayContaining(['ServiceMonitor', 'PodMonitor', 'PrometheusRule']));
  expect(chart).toMatch(/grafana_dashboard: ["']1["']/);
});
