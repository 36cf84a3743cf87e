// `npm run chart:sync`: makes what the chart has from elsewhere (CRD, list of supported models, dashboard, README). `--check` only compares.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dashboard } from '../dashboard/grafana.ts';
import { formatMarkdown, settleStale, staleOf } from '../generated.ts';
import type { Generated } from '../generated.ts';
import { renderReadme } from './readme.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const GENERATED: Generated = {
  'charts/kubembed/files/supported_models.txt': () => read('supported_models.txt'),
  'charts/kubembed/files/crds/embeddingmodels.yaml': () => read('crds/embeddingmodels.yaml'),
  'charts/kubembed/dashboards/kubembed.json': () => `${JSON.stringify(dashboard(), undefined, 1)}\n`,
  'charts/kubembed/README.md': () =>
    formatMarkdown(renderReadme(read('tools/chart/introduction.md'), read('charts/kubembed/values.yaml'))),
};

/** Files of the chart that differ from their source, with what they should hold. */
export const staleFiles = (): Promise<ReadonlyMap<string, string>> => staleOf(GENERATED);

if (import.meta.main) settleStale(await staleFiles(), 'chart:sync', process.argv);
