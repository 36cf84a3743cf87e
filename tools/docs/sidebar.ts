// The order in which the site shows its pages.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

interface Entry {
  readonly text: string;
  readonly link: string;
}

export interface Section {
  readonly text: string;
  readonly collapsed?: boolean;
  readonly items: (Entry | Section)[];
}

const page = (text: string, path: string): Entry => ({ text, link: `/${path}` });

const titleOf = (file: string): string => /^# (.+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? file;

/** Every page of a folder, by its own title. */
const pagesOf = (docs: string, folder: string): Entry[] =>
  readdirSync(join(docs, folder))
    .filter((name) => name.endsWith('.md') && name !== 'README.md')
    .sort()
    .map((name) => page(titleOf(join(docs, folder, name)), `${folder}/${name.replace(/\.md$/, '')}`));

export const sidebarOf = (docs: string): Section[] => [
  {
    text: 'Start',
    items: [
      page('Install', 'install'),
      page('Quickstart without a cluster', 'quickstart'),
      page('Quickstart on kind', 'quickstart-kind'),
      page('Concepts', 'concepts'),
    ],
  },
  {
    text: 'Use',
    items: [
      page('Models and architectures', 'models'),
      page('GPU', 'gpu'),
      page('Scaling', 'scaling'),
      page('Autoscaling', 'autoscaling'),
      page('Air-gapped and mirrored', 'air-gapped'),
      page('Security', 'security'),
    ],
  },
  {
    text: 'Operate',
    items: [
      page('Metrics', 'metrics'),
      page('Logs and traces', 'logs-and-traces'),
      {
        text: 'Alerts and runbooks',
        collapsed: true,
        items: [page('All alerts', 'runbooks/'), ...pagesOf(docs, 'runbooks')],
      },
      page('Troubleshooting by reason', 'troubleshooting'),
    ],
  },
  {
    text: 'Reference',
    items: [
      page('API', 'reference/api'),
      page('EmbeddingModel (CRD)', 'reference/crd'),
      page('Values of the chart', 'reference/values'),
      page('Command line', 'reference/cli'),
    ],
  },
  {
    text: 'From elsewhere',
    items: [
      page('Clients and examples', 'clients'),
      page('Migration', 'migration'),
      page('Performance', 'performance'),
    ],
  },
  {
    text: 'Inside',
    items: [
      page('Architecture', 'architecture'),
      { text: 'Decisions', collapsed: true, items: pagesOf(docs, 'adr') },
      page('Contributing', 'contributing'),
    ],
  },
];

/** Paths of all pages of a sidebar, without extension; a folder's first page is its `README`. */
export const pathsIn = (sections: readonly (Entry | Section)[]): string[] =>
  sections.flatMap((entry) =>
    'link' in entry ? [entry.link.slice(1).replace(/\/$/, '/README')] : pathsIn(entry.items),
  );
