// `node tools/release/versions.ts [TAG]`: whether everything that names the version of a release names the same one, and CHANGELOG.md tells of it.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { notesOf } from './notes.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Contents by path from the root. */
export type Files = (path: string) => string;

interface Named {
  readonly where: string;
  readonly version: string;
}

function named(read: Files, dockerfiles: readonly string[]): Named[] {
  const chart = parse(read('charts/kubembed/Chart.yaml')) as { version: string; appVersion: string };
  const lock = JSON.parse(read('package-lock.json')) as { version: string };
  return [
    { where: 'package-lock.json', version: lock.version },
    { where: 'version of Chart.yaml', version: chart.version },
    { where: 'appVersion of Chart.yaml', version: chart.appVersion },
    ...dockerfiles.map((where) => ({ where, version: /^ARG VERSION=(\S+)$/m.exec(read(where))?.[1] ?? 'none' })),
  ];
}

/** What is wrong with a release of this tag; of the version of package.json when there is none. */
export function versionFaults(read: Files, dockerfiles: readonly string[], tag?: string): string[] {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  const others = named(read, dockerfiles).filter((one) => one.version !== version);
  return [
    ...others.map((one) => `${one.where} has ${one.version}, package.json ${version}`),
    ...(tag === undefined || tag === `v${version}` ? [] : [`the tag is ${tag}, the version ${version}`]),
    ...(tag === undefined || notesOf(read('CHANGELOG.md'), version) !== undefined
      ? []
      : [`CHANGELOG.md has no section "## ${version}"`]),
  ];
}

export const DOCKERFILES = readdirSync(ROOT).filter((name) => name.startsWith('Dockerfile.'));
export const readFile: Files = (path) => readFileSync(join(ROOT, path), 'utf8');

if (import.meta.main) {
  const faults = versionFaults(readFile, DOCKERFILES, process.argv[2]);
  for (const fault of faults) console.error(`kubembed: ${fault}`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
