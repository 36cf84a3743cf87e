import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { withValues } from './chart.ts';
import { notesOf, releaseNotes } from './notes.ts';
import { toJavaScript } from './npm-package.ts';
import { DOCKERFILES, readFile, versionFaults } from './versions.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const out = mkdtempSync(join(tmpdir(), 'kubembed-release-'));
afterAll(() => rmSync(out, { recursive: true }));

/** A step as it would be run for somebody's repository, with what it would publish printed. */
const dryRun = (step: string, args: readonly string[] = [], version = '0.1.0'): string =>
  execFileSync(join(ROOT, 'tools', 'release', step), args, {
    encoding: 'utf8',
    env: {
      ...process.env,
      DRY_RUN: '1',
      GITHUB_REPOSITORY: 'Some-Body/Embed',
      VERSION: version,
      OUT: out,
      GITHUB_SHA: 'c0ffee',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });

describe('versions', () => {
  it('are the same everywhere', () => {
    expect(versionFaults(readFile, DOCKERFILES)).toEqual([]);
  });

  it('that differ are named, and so are a tag of another and a changelog that does not tell', () => {
    const read = (path: string): string =>
      path === 'charts/kubembed/Chart.yaml' ? 'version: 0.2.0\nappVersion: 0.1.0\n' : readFile(path);
    expect(versionFaults(read, DOCKERFILES, 'v9.0.0')).toEqual([
      'version of Chart.yaml has 0.2.0, package.json 0.1.0',
      'the tag is v9.0.0, the version 0.1.0',
      'CHANGELOG.md has no section "## 0.1.0"',
    ]);
  });
});

describe('notes', () => {
  const changelog =
    '# Changelog\n\n## Unreleased\n\n- a\n\n## [1.1.0] - 2026-01-01\n\n### Added\n\n- b\n\n## 1.0.0\n\n- c\n';

  it('are the section of the version', () => {
    expect(notesOf(changelog, '1.1.0')).toBe('### Added\n\n- b');
    expect(notesOf(changelog, '1.0.0')).toBe('- c');
    expect(notesOf(changelog, '1')).toBeUndefined();
  });

  it('say how to install and to verify, by names of the repository', () => {
    const notes = releaseNotes(changelog, '1.0.0', 'ghcr.io/some-body/embed');
    expect(notes).toContain('oci://ghcr.io/some-body/embed/charts/kubembed --version 1.0.0');
    expect(notes).toContain('github.com/some-body/embed/\\.github/workflows/release\\.yml');
    expect(() => releaseNotes(changelog, '2.0.0', 'ghcr.io/some-body/embed')).toThrow('no section "## 2.0.0"');
  });
});

it('values of the chart are set without a change to the rest', () => {
  const text = readFile('charts/kubembed/values.yaml');
  const released = withValues(text, { 'images.registry': 'r.example.com/a' });
  const comments = (yaml: string): string[] => yaml.split('\n').filter((line) => line.trim().startsWith('#'));
  expect(comments(released)).toEqual(comments(text));
  const before = parse(text) as { images: object };
  expect(parse(released)).toEqual({ ...before, images: { ...before.images, registry: 'r.example.com/a' } });
});

it('TypeScript becomes JavaScript that names the files as they are then called', () => {
  const code =
    "import { a } from './a.ts';\nconst b: URL = new URL('../b.ts', import.meta.url); const c = await import('./c.ts');\n";
  expect(toJavaScript(code).replaceAll(/ +/g, ' ')).toBe(
    "import { a } from './a.js';\nconst b = new URL('../b.js', import.meta.url); const c = await import('./c.js');\n",
  );
});

describe('a dry run', () => {
  it.each([
    ['operator', 'linux/amd64,linux/arm64'],
    ['runtime', 'linux/amd64,linux/arm64'],
    ['runtime-gpu', 'linux/amd64'],
  ])('of image %s pushes it with bill of materials and provenance, and signs it', (image, platforms) => {
    const [build, sign] = dryRun('image.sh', [image]).trim().split('\n');
    expect(build).toContain(`--platform ${platforms.replace(',', '\\,')} `);
    for (const part of [
      '--sbom=true',
      '--provenance=mode=max',
      '--push',
      `ghcr.io/some-body/embed/kubembed/${image}:0.1.0`,
    ])
      expect(build).toContain(part);
    expect(sign).toMatch(new RegExp(`^cosign sign --yes ghcr.io/some-body/embed/kubembed/${image}@sha256:`));
  });

  it('of the npm package is named after the owner, and holds the command', () => {
    expect(dryRun('npm.sh')).toMatch(/^npm publish \S+ --provenance --access public /m);
    const manifest = JSON.parse(readFileSync(join(out, 'npm', 'package.json'), 'utf8')) as object;
    expect(manifest).toMatchObject({
      name: '@some-body/kubembed',
      bin: { kubembed: 'cli/kubembed.js' },
      bugs: 'https://github.com/Some-Body/Embed/issues',
    });
    expect(existsSync(join(out, 'some-body-kubembed-0.1.0.tgz'))).toBe(true);
  });

  it('of the release on GitHub has the notes of the changelog', () => {
    expect(dryRun('github.sh', [], 'Unreleased')).toContain('gh release create vUnreleased --repo Some-Body/Embed ');
    expect(readFileSync(join(out, 'notes.md'), 'utf8')).toContain('oci://ghcr.io/some-body/embed/charts/kubembed');
  });
});

describe('workflows', () => {
  const folder = join(ROOT, '.github', 'workflows');
  const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));

  it('run scripts that exist', () => {
    const scripts = texts.flatMap((text) =>
      [...text.matchAll(/\b(?:tools|cli)\/[\w/.-]+\.(?:sh|ts|mjs)\b/g)].map(([one]) => one),
    );
    expect(scripts).toContain('tools/release/image.sh');
    expect(scripts.filter((script) => !existsSync(join(ROOT, script)))).toEqual([]);
  });

  it('have no rights by default, and leave no credentials in the checkout', () => {
    for (const text of texts) {
      expect((parse(text) as { permissions: object }).permissions).toEqual({ contents: 'read' });
      const checkouts = text.match(/uses: actions\/checkout/g)?.length ?? 0;
      expect(text.match(/persist-credentials: false/g)).toHaveLength(checkouts);
    }
  });
});
