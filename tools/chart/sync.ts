// `npm run chart:sync`: makes what the chart has from elsewhere (CRD, list of supported models, dashboard, README). `--check` only compares.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { dashboard } from '../dashboard/grafana.ts';
import { renderReadme } from './readme.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

async function formatted(markdown: string): Promise<string> {
  return await format(markdown, { ...(await resolveConfig(join(ROOT, 'README.md'))), parser: 'markdown' });
}

const GENERATED: Readonly<Record<string, () => string | Promise<string>>> = {
  'charts/kubembed/files/supported_models.txt': () => read('supported_models.txt'),
  'charts/kubembed/files/crds/embeddingmodels.yaml': () => read('crds/embeddingmodels.yaml'),
  'charts/kubembed/dashboards/kubembed.json': () => `${JSON.stringify(dashboard(), undefined, 1)}\n`,
  'charts/kubembed/README.md': () =>
    formatted(renderReadme(read('tools/chart/introduction.md'), read('charts/kubembed/values.yaml'))),
};

/** Files of the chart that differ from their source, with what they should hold. */
export async function staleFiles(): Promise<ReadonlyMap<string, string>> {
  const stale = new Map<string, string>();
  for (const [path, make] of Object.entries(GENERATED)) {
    const content = await make();
    if (!existsSync(join(ROOT, path)) || read(path) !== content) stale.set(path, content);
  }
  return stale;
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  for (const [path, content] of await staleFiles()) {
    if (check) {
      console.error(`kubembed: ${path} is stale; run \`npm run chart:sync\``);
      process.exitCode = 1;
    } else {
      mkdirSync(dirname(join(ROOT, path)), { recursive: true });
      writeFileSync(join(ROOT, path), content);
      console.log(`wrote ${path}`);
    }
  }
}
