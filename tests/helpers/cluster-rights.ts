// What the clusters of one run of the e2e tests say of rights: those that the chart granted, and those that their audit logs saw used. Each
// cluster leaves a record before it goes; together they are what a whole run needs.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readRequests } from './control-plane-audit.ts';
import { granted, used, userOf } from './rights.ts';
import type { Component, Role } from './rights.ts';

const RECORDS = join(import.meta.dirname, '..', '..', 'reports', 'rights');
/** The process that all files of a run have above them. */
const RUN = process.ppid;

type Rights = Readonly<Record<Component, readonly string[]>>;

interface RightsRecord {
  readonly run: number;
  readonly file: string;
  readonly granted: Rights;
  readonly used: Rights;
}

const ofEach = (rights: (component: Component) => readonly string[]): Rights => ({
  operator: [...new Set(rights('operator'))].toSorted(),
  router: [...new Set(rights('router'))].toSorted(),
});

export async function recordRights(testFile: string, roles: readonly Role[], auditLog: string): Promise<void> {
  const requests = await readRequests(auditLog);
  const record: RightsRecord = {
    run: RUN,
    file: basename(testFile),
    granted: ofEach((component) => granted(roles, component)),
    used: ofEach((component) => used(requests.filter(({ user }) => user === userOf(component)))),
  };
  await mkdir(RECORDS, { recursive: true });
  await writeFile(join(RECORDS, `${record.file}.json`), JSON.stringify(record, undefined, 2));
}

export interface RightsOfRun {
  /** Test files whose clusters have left a record in this run. */
  readonly files: readonly string[];
  readonly granted: Rights;
  readonly used: Rights;
}

export async function rightsOfRun(): Promise<RightsOfRun> {
  const names = await readdir(RECORDS).catch(() => []);
  const all = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(RECORDS, name), 'utf8')) as RightsRecord),
  );
  const records = all.filter(({ run }) => run === RUN);
  return {
    files: records.map(({ file }) => file),
    granted: ofEach((component) => records.flatMap((record) => record.granted[component])),
    used: ofEach((component) => records.flatMap((record) => record.used[component])),
  };
}
