// What pages name in passing has to exist: metrics, variables, values, fields, scripts, files.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { documentedValues } from '../chart/readme.ts';
import { allMetrics } from '../metrics/reference.ts';
import { fieldsOf } from './schema.ts';
import type { Schema } from './schema.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'charts/kubembed/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('site/'))
    .map((name) => `docs/${name}`),
];

/** What a recipe adds is not there until somebody follows it. */
const RECIPES = /^```\w+ recipe[^]*?^```$/gm;
const pages = PAGES.map((page) => ({ page, text: read(page).replaceAll(RECIPES, '') }));

/** Everything that pages name by a pattern and that `exists` does not know. */
const unknown = (pattern: RegExp, exists: (name: string) => boolean): string[] =>
  pages.flatMap(({ page, text }) =>
    [...text.matchAll(pattern)]
      .map(([, name]) => name!)
      .filter((name) => !exists(name))
      .map((name) => `${page}: ${name}`),
  );

const CODE = [
  'api',
  'hub',
  'operator',
  'router',
  'runtime',
  'common',
  'local',
  'cli',
  'kube',
  'tools',
  'tests',
  'bench',
];
const SOURCES = [...CODE, 'charts'];
const sources = (): string =>
  SOURCES.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mjs|sh|yaml|tpl)$/.test(name))
      .map((name) => read(join(folder, name))),
  ).join('\n');

/** Read by the OpenTelemetry SDK itself. */
const OF_THE_SDK = ['OTEL_RESOURCE_ATTRIBUTES'];

describe('what pages name exists', { timeout: 60_000 }, () => {
  it('metrics', () => {
    const names = [...allMetrics().values()].flat().map(({ name }) => name);
    const exists = (name: string): boolean =>
      names.includes(name.replace(/_(bucket|sum|count)$/, '')) ||
      (name.endsWith('_') && names.some((one) => one.startsWith(name)));
    expect(unknown(/\b(kubembed_(?:router|runtime|operator|model|catalog|scale|api)_[a-z_]+)/g, exists)).toEqual([]);
  });

  it('variables', () => {
    const text = sources();
    expect(
      unknown(/\b((?:KUBEMBED|OTEL|HF)_[A-Z_]*[A-Z])\b/g, (name) => text.includes(name) || OF_THE_SDK.includes(name)),
    ).toEqual([]);
  });

  it('values of the chart', () => {
    const keys = documentedValues(read('charts/kubembed/values.yaml')).map(({ key }) => key);
    const roots = [...new Set(keys.filter((key) => key.includes('.')).map((key) => key.split('.')[0]!))];
    const mentions = new RegExp(`\`((?:${roots.join('|')})(?:\\.[A-Za-z]\\w*)+)[^\`/]*\``, 'g');
    const exists = (name: string): boolean =>
      keys.some((key) => `${key}.`.startsWith(`${name}.`) || name.startsWith(`${key}.`));
    expect(unknown(mentions, exists)).toEqual([]);
  });

  it('fields of EmbeddingModel', () => {
    const crd = parse(read('crds/embeddingmodels.yaml')) as {
      spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
    };
    const paths = fieldsOf(crd.spec.versions[0]!.schema.openAPIV3Schema).map(({ path }) => path.replaceAll('[]', ''));
    const exists = (name: string): boolean => paths.includes(name) || /^(spec|status)\.(limits|requests)/.test(name);
    expect(
      unknown(
        /`((?:spec|status)\.[a-zA-Z.]*[a-zA-Z])\b[^`]*`/g,
        (name) => exists(name) || paths.some((path) => name.startsWith(`${path}.`)),
      ),
    ).toEqual([]);
  });

  it('scripts of npm', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    expect(unknown(/npm run (?:--silent )?([\w:]+)/g, (name) => name in scripts)).toEqual([]);
  });

  it('files', () => {
    const folders = [...SOURCES, 'crds', 'docs', 'examples'].join('|');
    const inside = new RegExp(`\`((?:${folders})/[\\w./-]*\\w)\``, 'g');
    const exists = (name: string): boolean =>
      ['', '.ts', '.test.ts'].some((ending) => existsSync(join(ROOT, `${name}${ending}`)));
    expect(unknown(inside, exists)).toEqual([]);
  });
});
