// The audit finds what it is there for: planted secrets, setuid programs, shells, development packages; and tells a missing audit from a clean one.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { advisoriesIn, lockFaults } from './dependencies.ts';
import { findingsIn, imageBom, openImage } from './image.ts';
import { billOf, debianPackages, installedIn } from './sbom.ts';
import type { Bom } from './sbom.ts';
import { secretsIn } from './secrets.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubembed-security-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (path: string, text = '', mode = 0o644): void => {
  mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o755 });
  writeFileSync(join(folder, path), text);
  chmodSync(join(folder, path), mode);
};
const manifest = (value: object): string => JSON.stringify(value);
/** Not in one piece in this file, which is itself looked through. */
const TOKEN = `hf_${'aB3'.repeat(11)}`;

/** The rules of the CycloneDX 1.5 schema for what is used of it. */
const component = z.strictObject({
  type: z.enum(['library', 'platform', 'container']),
  'bom-ref': z.string().min(1),
  name: z.string().min(1),
  version: z.string(),
  purl: z
    .string()
    .regex(/^pkg:(npm|deb|generic)\/[^@\s]+@[^@\s]+$/)
    .optional(),
  licenses: z
    .array(
      z.union([
        z.strictObject({ license: z.strictObject({ id: z.string() }) }),
        z.strictObject({ license: z.strictObject({ name: z.string() }) }),
        z.strictObject({ expression: z.string() }),
      ]),
    )
    .max(1)
    .optional(),
  hashes: z
    .array(z.strictObject({ alg: z.literal('SHA-512'), content: z.string().regex(/^[0-9a-f]{128}$/) }))
    .optional(),
});
const cycloneDx = z.strictObject({
  bomFormat: z.literal('CycloneDX'),
  specVersion: z.literal('1.5'),
  version: z.literal(1),
  metadata: z.strictObject({ component }),
  components: z.array(component),
  dependencies: z.array(z.strictObject({ ref: z.string(), dependsOn: z.array(z.string()) })),
});

const NODE = { type: 'platform', 'bom-ref': 'node', name: 'node', version: '24.0.0', purl: 'pkg:generic/node@24.0.0' };

/** As npm writes it, some of which differs from one run to the next. */
const npmComponent = (name: string, version: string, purl: string, more: object = {}) => ({
  ...{ type: 'library', 'bom-ref': `${name}@${version}`, name, version, purl },
  ...{ scope: 'required', description: 'x', properties: [], externalReferences: [] },
  ...more,
});
const hashes = [{ alg: 'SHA-512', content: '07'.repeat(64) }];
const NPM_BILL = {
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  serialNumber: 'urn:uuid:1',
  version: 1,
  metadata: { timestamp: 'now', component: npmComponent('kubembed', '1.2.3', 'pkg:npm/kubembed@1.2.3') },
  components: [
    npmComponent('@s/b', '2.0.0-rc.1+x', 'pkg:npm/%40s/b@2.0.0-rc.1%2Bx', {
      licenses: [{ expression: '(MIT OR Apache-2.0)' }],
    }),
    npmComponent('a', '1.0.0', 'pkg:npm/a@1.0.0', { hashes, licenses: [{ license: { id: 'MIT' } }] }),
    npmComponent('b', '3.0.0', 'pkg:npm/b@3.0.0'),
    npmComponent('pruned', '1.0.0', 'pkg:npm/pruned@1.0.0'),
  ],
  dependencies: [
    { ref: 'kubembed@1.2.3', dependsOn: ['a@1.0.0'] },
    { ref: 'a@1.0.0', dependsOn: ['b@3.0.0', 'pruned@1.0.0'] },
    { ref: 'b@3.0.0', dependsOn: ['@s/b@2.0.0-rc.1+x'] },
    { ref: '@s/b@2.0.0-rc.1+x', dependsOn: [] },
    { ref: 'pruned@1.0.0', dependsOn: [] },
  ],
};

const bill = (): Bom => billOf(NPM_BILL, installedIn(folder), 'kubembed/runtime', [NODE]);

const writeProduct = (at: string): void => {
  write(`${at}package.json`, manifest({ name: 'kubembed', version: '1.2.3' }));
  write(`${at}node_modules/a/package.json`, manifest({ name: 'a', version: '1.0.0' }));
  write(`${at}node_modules/@s/b/package.json`, manifest({ name: '@s/b', version: '2.0.0-rc.1+x' }));
  write(`${at}node_modules/a/node_modules/b/package.json`, manifest({ name: 'b', version: '3.0.0' }));
  write(`${at}node_modules/stub/package.json`, manifest({ main: 'index.js' }));
  const installed = installedIn(join(folder, at));
  write(`${at}sbom/sbom.cdx.json`, manifest(billOf(NPM_BILL, installed, 'kubembed/runtime', [NODE])));
};

describe('the bill of materials', () => {
  it('is CycloneDX: every package that is there with its origin, and who needs whom', () => {
    writeProduct('');
    const bom = cycloneDx.parse(bill());
    expect(bom.components.map(({ purl }) => purl)).toEqual([
      'pkg:generic/node@24.0.0',
      'pkg:npm/%40s/b@2.0.0-rc.1%2Bx',
      'pkg:npm/a@1.0.0',
      'pkg:npm/b@3.0.0',
    ]);
    const refs = new Set([...bom.components, bom.metadata.component].map((one) => one['bom-ref']));
    expect(refs.size).toBe(bom.components.length + 1);
    for (const { ref, dependsOn } of bom.dependencies)
      for (const one of [ref, ...dependsOn]) expect(refs).toContain(one);
    expect(bom.dependencies).toContainEqual({ ref: 'a@1.0.0', dependsOn: ['b@3.0.0'] });
    expect(bom.dependencies).toContainEqual({ ref: 'b@3.0.0', dependsOn: ['@s/b@2.0.0-rc.1+x'] });
    expect(bom.components.find(({ name }) => name === 'a')?.hashes).toEqual(hashes);
    // The same contents, the same document.
    expect(JSON.stringify(bill())).not.toMatch(/urn:uuid|timestamp/);
  });

  it('is not made when npm does not know a package that is there', () => {
    writeProduct('');
    write('node_modules/strange/package.json', manifest({ name: 'strange', version: '1.0.0' }));
    expect(bill).toThrow('npm sbom does not list strange@1.0.0');
  });

  it("has Debian's packages by their own names", () => {
    const found = debianPackages('Package: libc6\nVersion: 2.36-9+deb12u4\nArchitecture: amd64\n\nPackage: broken\n');
    expect(found.map(({ purl }) => purl)).toEqual(['pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64']);
  });
});

describe('an image', () => {
  /** A docker-archive of these layers, each a folder below `folder`. */
  const archive = (layers: readonly string[], config: object = {}): string => {
    const names = layers.map((layer) => {
      execFileSync('tar', [
        '-cf',
        join(folder, `${layer}.tar`),
        '--owner=0',
        '--group=0',
        '-C',
        join(folder, layer),
        '.',
      ]);
      return `${layer}.tar`;
    });
    write('config.json', manifest({ config: { User: '65532:65532', Env: ['NODE_ENV=production'], ...config } }));
    write('manifest.json', manifest([{ Config: 'config.json', Layers: names }]));
    const path = join(folder, 'image.tar');
    execFileSync('tar', ['-cf', path, '-C', folder, 'manifest.json', 'config.json', ...names]);
    return path;
  };
  const opened = (layers: readonly string[], config: object = {}) =>
    openImage(archive(layers, config), mkdtempSync(join(folder, 'unpacked-')));
  const development = new Set(['node_modules/vitest']);

  it('that holds what it needs has no findings, and a bill of what it holds', () => {
    writeProduct('base/app/');
    write('base/app/dist/main.js', 'run();');
    write('base/usr/local/bin/node', '', 0o755);
    write('base/var/lib/dpkg/status.d/libc6', 'Package: libc6\nVersion: 2\n');
    const image = opened(['base']);
    expect(findingsIn(image, development)).toEqual([]);
    const bom = cycloneDx.parse(imageBom(image));
    expect(bom.components.map(({ name }) => name)).toEqual(['node', '@s/b', 'a', 'b', 'libc6']);
  });

  it('is told everything that has no place in it', () => {
    write('base/app/node_modules/pruned/package.json', manifest({ name: 'pruned', version: '1.0.0' }));
    writeProduct('base/app/');
    rmSync(join(folder, 'base/app/node_modules/pruned'), { recursive: true });
    write('base/usr/bin/su', '', 0o4755);
    write('base/usr/bin/perl', '', 0o755);
    write('base/etc/open', '', 0o666);
    write('base/app/dist/main.js', `const token = '${TOKEN}';`);
    write('base/app/node_modules/vitest/package.json', manifest({ name: 'vitest', version: '4.0.0' }));
    write('base/app/router/start.ts');
    const findings = findingsIn(opened(['base'], { User: '', Env: [`HF_TOKEN=${TOKEN}`] }), development);
    expect(findings.map((finding) => finding.replace(/\(.*\)/, '(…)'))).toEqual([
      'runs as "", not as a numbered user other than root',
      'usr/bin/su is setuid or setgid (…)',
      'etc/open can be written by anyone',
      'usr/bin/perl is of use to an intruder alone',
      'the configuration or history holds a Hugging Face token',
      'app/dist/main.js holds a Hugging Face token',
      'node_modules/vitest is a development dependency',
      'app/router/start.ts is no part of the product',
      'vitest@4.0.0 is not in the bill of materials',
      'pruned@1.0.0 is in the bill of materials alone',
    ]);
    expect(findings.join('\n')).not.toContain(TOKEN);
  });

  it('is judged by its last layer: what was removed is gone', () => {
    writeProduct('base/app/');
    write('base/usr/bin/su', '', 0o4755);
    write('base/usr/bin/perl', '', 0o755);
    write('top/usr/bin/.wh.perl');
    write('top/usr/bin/su', '', 0o755);
    expect(findingsIn(opened(['base', 'top']), development)).toEqual([]);
  });
});

describe('dependencies', () => {
  it('come from the registry with a hash', () => {
    const integrity = 'sha512-x';
    const packages = {
      '': {},
      'node_modules/good': { resolved: 'https://registry.npmjs.org/good/-/good-1.tgz', integrity },
      'node_modules/silent': { integrity },
      'node_modules/forked': { resolved: 'git+ssh://git@example.com/forked.git', integrity },
      'node_modules/unhashed': {},
    };
    expect(lockFaults({ packages })).toEqual([
      'node_modules/forked is from git+ssh://git@example.com/forked.git',
      'node_modules/unhashed has no SHA-512 hash',
    ]);
  });

  it('that could not be looked up are not called clean', () => {
    expect(advisoriesIn('{"message":"405 Method Not Allowed","error":{"summary":""}}', '')).toEqual({
      notRun: '405 Method Not Allowed',
    });
    expect(advisoriesIn('', 'npm error network\n')).toEqual({ notRun: 'npm error network' });
    expect(advisoriesIn('{"vulnerabilities":{}}', '')).toEqual({ findings: [] });
    expect(advisoriesIn('{"vulnerabilities":{"a":{"severity":"high","range":"<2"}}}', '')).toEqual({
      findings: ['a <2: high; see npm audit'],
    });
  });
});

it('knows credentials by the marks of their issuers, and takes no word for one', () => {
  const key = ['-----BEGIN', 'PRIVATE', 'KEY-----\n'].join(' ') + 'A'.repeat(64);
  expect([TOKEN, `AKIA${'A1'.repeat(8)}`, key].flatMap(secretsIn)).toEqual([
    'Hugging Face token',
    'AWS key',
    'private key',
  ]);
  expect(secretsIn('hf_example HF_TOKEN=$TOKEN sk-test npm_config_cache -----BEGIN CERTIFICATE-----')).toEqual([]);
});
