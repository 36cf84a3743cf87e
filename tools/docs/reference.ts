// `npm run docs:reference`: writes the pages that are made from CRD, chart, OpenAPI document, the command's help and bench results. `--check` only compares.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Measured } from '../../cli/sizing.ts';
import { COMMANDS } from '../../cli/dispatch.ts';
import { openApiDocument } from '../../common/openai/document.ts';
import { packageVersion } from '../../common/util/process.ts';
import { formatMarkdown, settleStale, staleOf } from '../generated.ts';
import { renderSuites } from '../suites.ts';
import { renderFirstStart } from './first-start.ts';
import type { FirstStart } from './first-start.ts';
import { renderApi } from './api-reference.ts';
import type { OpenApi } from './api-reference.ts';
import { renderCli } from './cli-reference.ts';
import { renderCrd } from './crd-reference.ts';
import { between } from './markdown.ts';
import { renderMachines, renderNewcomer } from './newcomer.ts';
import type { NewcomerTimes } from './newcomer.ts';
import { renderNumbers } from './numbers.ts';
import { renderSizing } from './sizing.ts';
import { renderValues } from './values-reference.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const made = (from: string, page: string): string =>
  page.replace('\n\n', `\n\n<!-- Made by \`npm run docs:reference\` from ${from}. -->\n\n`);

/** `<!-- values NAME -->` … becomes the values of that cluster, as the tests of the chart have them. */
function withValues(page: string): string {
  const names = [...page.matchAll(/<!-- values (\S+) -->/g)].map(([, name]) => name!);
  const block = (name: string): string => `\`\`\`yaml\n${read(`tests/kube/values/${name}.yaml`).trim()}\n\`\`\``;
  return names.reduce((text, name) => between(text, `values ${name}`, block(name)), page);
}

const firstStart = (): string => renderFirstStart(JSON.parse(read('tools/docs/first-start.json')) as FirstStart);

const newcomerTimes = (): NewcomerTimes => JSON.parse(read('tools/docs/newcomer.json')) as NewcomerTimes;

const GENERATED: Readonly<Record<string, () => string>> = {
  'docs/reference/api.md': () =>
    made('the OpenAPI document', renderApi(openApiDocument(packageVersion()) as unknown as OpenApi)),
  'docs/reference/cli.md': () => made('the help of the commands', renderCli(COMMANDS)),
  'docs/reference/crd.md': () => made('crds/embeddingmodels.yaml', renderCrd(read('crds/embeddingmodels.yaml'))),
  'docs/reference/values.md': () =>
    made(
      'values.yaml and values.schema.json of the chart',
      renderValues(
        read('charts/kubembed/values.yaml'),
        JSON.parse(read('charts/kubembed/values.schema.json')) as object,
      ),
    ),
  'README.md': () => {
    const numbers = between(read('README.md'), 'numbers', renderNumbers(read('docs/performance.md')));
    return between(between(numbers, 'suites', renderSuites()), 'first start', firstStart());
  },
  'docs/sizing.md': () =>
    between(read('docs/sizing.md'), 'sizing', renderSizing(JSON.parse(read('cli/measured.json')) as Measured)),
  'docs/clouds.md': () => withValues(read('docs/clouds.md')),
  'docs/teams.md': () => withValues(read('docs/teams.md')),
  'docs/quickstart.md': () =>
    between(
      between(read('docs/quickstart.md'), 'first start', firstStart()),
      'newcomer',
      renderNewcomer(newcomerTimes()),
    ),
  'docs/install.md': () =>
    between(between(read('docs/install.md'), 'first start', firstStart()), 'machines', renderMachines(newcomerTimes())),
  'CONTRIBUTING.md': () => between(read('CONTRIBUTING.md'), 'suites', renderSuites()),
};

/** Pages that differ from what they are made from, with what they should hold. */
export const stalePages = (): Promise<ReadonlyMap<string, string>> =>
  staleOf(Object.fromEntries(Object.entries(GENERATED).map(([path, make]) => [path, () => formatMarkdown(make())])));

if (import.meta.main) settleStale(await stalePages(), 'docs:reference', process.argv);
