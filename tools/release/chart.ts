// `node tools/release/chart.ts FOLDER REGISTRY URL`: the chart as it is released, with the registry and the links of this repository filled in.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseDocument, stringify } from 'yaml';

const ROOT = join(import.meta.dirname, '..', '..');

/** Sets values of a YAML text and keeps all the rest of it, comments included. @param values by path */
export function withValues(text: string, values: Readonly<Record<string, unknown>>): string {
  const document = parseDocument(text);
  for (const [path, value] of Object.entries(values)) document.setIn(path.split('.'), value);
  return document.toString({ lineWidth: 0 });
}

export function releaseChart(folder: string, registry: string, url: string): void {
  cpSync(join(ROOT, 'charts', 'kubembed'), folder, { recursive: true });
  const rewrite = (file: string, values: (text: string) => Readonly<Record<string, unknown>>): void => {
    const text = readFileSync(join(folder, file), 'utf8');
    writeFileSync(join(folder, file), withValues(text, values(text)));
  };
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const pages = `${url}/blob/v${version}/docs`;
  rewrite('values.yaml', () => ({
    'images.registry': registry,
    'metrics.prometheusRule.runbooks': `${pages}/runbooks`,
  }));
  rewrite('Chart.yaml', (text) => {
    const { annotations } = parse(text) as { readonly annotations: Readonly<Record<string, string>> };
    const images = ['operator', 'runtime', 'runtime-gpu'].map((name) => ({
      name,
      image: `${registry}/kubembed/${name}:${version}`,
    }));
    const links = [{ name: 'Documentation', url: `${pages}/README.md` }];
    const added = {
      'artifacthub.io/images': stringify(images),
      'artifacthub.io/links': stringify(links),
      'artifacthub.io/prerelease': String(version.includes('-')),
    };
    return { home: url, sources: [url], annotations: { ...annotations, ...added } };
  });
}

if (import.meta.main) {
  const [folder, registry, url] = process.argv.slice(2);
  if (folder === undefined || registry === undefined || url === undefined)
    throw new Error('usage: node tools/release/chart.ts FOLDER REGISTRY URL');
  releaseChart(folder, registry, url);
}
