// The order in which the site shows its pages; their own titles are what it calls them.
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

/** Pages by section; what ends in a slash is a folder of pages, its `README` first. */
const ORDER = {
  Start: ['quickstart', 'quickstart-kind', 'first-model', 'concepts', 'faq'],
  Use: ['clients', 'models', 'bulk', 'sizing', 'gpu', 'scaling', 'autoscaling'],
  Install: ['install', 'clouds', 'air-gapped', 'teams', 'pods', 'security'],
  Operate: ['metrics', 'logs-and-traces', 'runbooks/', 'troubleshooting', 'upgrading', 'releases'],
  Migrate: ['migration', 'migration-openai', 'migration-tei', 'migration-infinity', 'migration-kubeai'],
  Reference: ['reference/api', 'reference/crd', 'reference/values', 'reference/cli'],
  Evidence: ['performance', 'evidence'],
  Inside: ['architecture', 'adr/', 'contributing'],
};
const FOLDERS: Readonly<Record<string, string>> = { 'runbooks/': 'Alerts and runbooks', 'adr/': 'Decisions' };

export function sidebarOf(docs: string): Section[] {
  const page = (path: string): Entry => {
    const file = join(docs, path.endsWith('/') ? `${path}README.md` : `${path}.md`);
    return { text: /^# (.+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? path, link: `/${path}` };
  };
  const folder = (path: string): Section => {
    const names = readdirSync(join(docs, path)).filter((name) => name.endsWith('.md'));
    const pages = names.map((name) => path + name.replace(/\.md$/, '').replace(/^README$/, ''));
    return { text: FOLDERS[path] ?? path, collapsed: true, items: pages.sort().map(page) };
  };
  return Object.entries(ORDER).map(([text, paths]) => ({
    text,
    items: paths.map((path) => (path in FOLDERS ? folder(path) : page(path))),
  }));
}

/** Paths of all pages of a sidebar, without extension; a folder's first page is its `README`. */
export const pathsIn = (sections: readonly (Entry | Section)[]): string[] =>
  sections.flatMap((entry) =>
    'link' in entry ? [entry.link.slice(1).replace(/\/$/, '/README')] : pathsIn(entry.items),
  );
