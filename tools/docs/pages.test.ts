// What pages show is taken by what it is for: manifests by the CRD's rules, values by the chart; and what the README states has its evidence.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseCatalog } from '../../api/catalog.ts';
import { API_VERSION } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { isRecord } from '../../common/util/text.ts';
import { embeddingModelFaults } from '../../local/files.ts';
import { parseKeys } from '../../router/auth/api-keys.ts';
import { blocksOf } from '../../tests/helpers/docs-blocks.ts';
import { documentedValues } from '../chart/readme.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('site/'))
    .map((name) => `docs/${name}`),
];

/** Manifests in YAML blocks, and those that shell blocks hand to kubectl or write to a file. */
const documents = PAGES.flatMap((page) =>
  blocksOf(read(page), page).flatMap(({ at, language, code }) => {
    const texts =
      language === 'yaml' ? [code] : [...code.matchAll(/<<'YAML'\n([^]*?)\nYAML$/gm)].map(([, text]) => text ?? '');
    return texts.flatMap((text) =>
      parseAllDocuments(text).map((document) => ({
        at,
        faults: document.errors.map(({ message }) => message),
        value: document.toJS() as unknown,
      })),
    );
  }),
);

const of = (kind: string) =>
  documents.flatMap(({ at, value }) => (isRecord(value) && value['kind'] === kind ? [{ at, value }] : []));

const isFragment = (value: unknown): value is { spec: Record<string, unknown> } =>
  isRecord(value) && Object.keys(value).join() === 'spec' && isRecord(value['spec']);

describe('YAML on pages', () => {
  it('can be read', () => {
    expect(documents.length).toBeGreaterThan(20);
    expect(documents.filter(({ faults }) => faults.length > 0)).toEqual([]);
  });

  it('shows EmbeddingModels that are valid', () => {
    const whole = of('EmbeddingModel').map(({ at, value }) => ({ at, model: value }));
    const parts = documents
      .filter(({ value }) => isFragment(value))
      .map(({ at, value }) => {
        const { spec } = value as { spec: Record<string, unknown> };
        const metadata = { name: 'part' };
        return {
          at,
          model: { apiVersion: API_VERSION, kind: 'EmbeddingModel', metadata, spec: { model: 'org/model', ...spec } },
        };
      });
    expect(whole.length).toBeGreaterThan(5);
    const faults = [...whole, ...parts].flatMap(({ at, model }) =>
      embeddingModelFaults(model as unknown as EmbeddingModel).map((fault) => `${at}: ${fault}`),
    );
    expect(faults).toEqual([]);
  });

  it('shows models that are on the list', () => {
    const listed = [...parseCatalog(read('supported_models.txt')).models];
    const shown = of('EmbeddingModel').map(({ at, value }) => ({
      at,
      model: (value as unknown as EmbeddingModel).spec.model,
    }));
    expect(shown.filter(({ model }) => !listed.includes(model))).toEqual([]);
  });

  it('shows lists of API keys that routers read', () => {
    const keys = of('Secret').flatMap(({ value }) => {
      const data = value['stringData'];
      return isRecord(data) && typeof data['keys.yaml'] === 'string' ? [data['keys.yaml']] : [];
    });
    expect(keys.length).toBeGreaterThan(1);
    for (const text of keys) expect(parseKeys(text).size).toBeGreaterThan(0);
  });

  it('shows values that the chart has', () => {
    const known = documentedValues(read('charts/kubembed/values.yaml')).map(({ key }) => key);
    const roots = new Set(known.map((key) => key.split('.')[0]));
    /** Values that no documented one stands above: `a.b` where there is an `a` with values below it, and none of them is `b`. */
    const strangers = (value: Record<string, unknown>, above: string): string[] =>
      Object.entries(value).flatMap(([name, inner]) => {
        const key = above + name;
        if (known.includes(key)) return [];
        return isRecord(inner) && known.some((one) => one.startsWith(`${key}.`)) ? strangers(inner, `${key}.`) : [key];
      });
    const values = documents.filter(
      ({ value }) => isRecord(value) && value['kind'] === undefined && Object.keys(value).some((key) => roots.has(key)),
    );
    expect(values.length).toBeGreaterThan(20);
    expect(
      values.flatMap(({ at, value }) =>
        strangers(value as Record<string, unknown>, '').map((name) => `${at}: ${name}`),
      ),
    ).toEqual([]);
  });
});

it('commands that install the chart say where the images are: there is no default', () => {
  const commands = [...PAGES, 'charts/kubembed/README.md', 'examples/README.md'].flatMap((page) =>
    [
      ...read(page)
        .replaceAll('\\\n', ' ')
        .matchAll(/\bhelm (?:upgrade|install) [^\n`]*charts\/kubembed[^\n`]*/g),
    ].map(([command]) => `${page}: ${command}`),
  );
  expect(commands.length).toBeGreaterThan(5);
  expect(commands.filter((command) => !/images\.registry|--values|--reuse-values/.test(command))).toEqual([]);
});

describe('the evidence for the README', () => {
  const evidence = read('docs/evidence.md');

  it('has each of its claims', () => {
    const claims = [...read('README.md').matchAll(/^- (\*\*[^*]+\.\*\*)/gm)].map(([, claim]) => claim!);
    expect(claims.length).toBeGreaterThan(4);
    expect(claims.filter((claim) => !evidence.includes(`| ${claim}`))).toEqual([]);
  });

  it('is tests that exist, or commands', () => {
    const rows = evidence.split('\n').filter((line) => /^\| (?!statement|---)/.test(line));
    expect(rows.length).toBeGreaterThan(10);
    const named = rows.flatMap((row) => [...row.matchAll(/`([\w/.-]+\.test\.ts)`/g)].map(([, file]) => file!));
    expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
    expect(rows.filter((row) => !/\.test\.ts`|`npm run |not tested/.test(row))).toEqual([]);
  });
});

it('numbers each decision once, in its name as in its title', () => {
  const records = readdirSync(join(ROOT, 'docs/adr')).sort();
  const numbers = records.map((name) => Number(name.slice(0, 4)));
  expect(numbers).toEqual(records.map((_, index) => index + 1));
  const titles = records.map((name) => Number(/^# (\d+)\. /.exec(read(`docs/adr/${name}`))?.[1]));
  expect(titles).toEqual(numbers);
});
