// The bill of materials of a folder that becomes an image: every npm package left in it, Node.js and Debian's packages, as CycloneDX.
// `node tools/security/sbom.ts FOLDER NAME`: prints that of an installed package. Run in the build stage of the Dockerfiles.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

export interface Component {
  readonly type: 'library' | 'platform' | 'container';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly licenses?: readonly object[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

export interface Bom {
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: unknown;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

interface Lock {
  readonly packages?: Readonly<Record<string, { readonly integrity?: string }>>;
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

/** `node_modules/a`, `node_modules/@b/c`, `node_modules/a/node_modules/d`, … below the root. */
export function packageFolders(root: string): string[] {
  const modules = join(root, 'node_modules');
  if (!existsSync(modules)) return [];
  const names = readdirSync(modules).flatMap((name) =>
    name.startsWith('@') ? readdirSync(join(modules, name)).map((inner) => join(name, inner)) : [name],
  );
  return names
    .map((name) => join(modules, name))
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .flatMap((folder) => [folder, ...packageFolders(folder)]);
}

const purlOf = (name: string, version: string): string =>
  `pkg:npm/${name.replace('@', '%40')}@${encodeURIComponent(version)}`;

function licensesOf(license: unknown): Pick<Component, 'licenses'> {
  if (typeof license !== 'string' || license === '') return {};
  return { licenses: [/[ ()]/.test(license) ? { expression: license } : { license: { name: license } }] };
}

function hashesOf(integrity: string | undefined): Pick<Component, 'hashes'> {
  const [algorithm, digest] = integrity?.split('-', 2) ?? [];
  if (algorithm !== 'sha512' || digest === undefined) return {};
  return { hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }] };
}

interface Installed {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly component: Component;
}

function installedIn(root: string): Installed[] {
  const lockFile = join(root, 'package-lock.json');
  const lock: Lock = existsSync(lockFile) ? (readJson(lockFile) as Lock) : {};
  return packageFolders(root).flatMap((folder) => {
    const manifest = readJson(join(folder, 'package.json')) as Manifest;
    const { name, version, license } = manifest;
    // A stub that stands in for a package that is never used.
    if (name === undefined || version === undefined) return [];
    const at = relative(root, folder);
    const component: Component = {
      type: 'library',
      'bom-ref': at,
      name,
      version,
      purl: purlOf(name, version),
      ...licensesOf(license),
      ...hashesOf(lock.packages?.[at]?.integrity),
    };
    return [{ folder, manifest, component }];
  });
}

/** As Node looks for it: beside, then further up. */
function refOf(root: string, from: string, name: string, known: ReadonlySet<string>): string[] {
  for (let folder = from; folder.startsWith(root); folder = resolve(folder, '..')) {
    const ref = relative(root, join(folder, 'node_modules', name));
    if (known.has(ref)) return [ref];
  }
  return [];
}

const wanted = ({ dependencies, optionalDependencies, peerDependencies }: Manifest): string[] => [
  ...new Set(Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })),
];

export interface BomOptions {
  /** Folder with package.json, node_modules and, for hashes, package-lock.json. */
  readonly root: string;
  readonly name: string;
  readonly nodeVersion?: string;
  /** Packages of the operating system. */
  readonly system?: readonly Component[];
}

export function bomOf({ root, name, nodeVersion, system = [] }: BomOptions): Bom {
  const own = readJson(join(root, 'package.json')) as Manifest;
  const installed = installedIn(root);
  const known = new Set(installed.map(({ component }) => component['bom-ref']));
  const node: Component[] =
    nodeVersion === undefined
      ? []
      : [
          {
            type: 'platform',
            'bom-ref': 'node',
            name: 'node',
            version: nodeVersion,
            purl: `pkg:generic/node@${nodeVersion}`,
            licenses: [{ license: { name: 'MIT' } }],
          },
        ];
  const components = [...node, ...system, ...installed.map(({ component }) => component)];
  const version = own.version ?? '0.0.0';
  const subject: Component = { type: 'container', 'bom-ref': name, name, version };
  const dependencies = [
    { ref: name, dependsOn: components.map((component) => component['bom-ref']) },
    ...installed.map(({ folder, manifest, component }) => ({
      ref: component['bom-ref'],
      dependsOn: wanted(manifest).flatMap((dependency) => refOf(root, folder, dependency, known)),
    })),
  ];
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf([name, version, ...components.map((component) => component['bom-ref'] + component.version)])}`,
    version: 1,
    metadata: { component: subject },
    components,
    dependencies,
  };
}

/** The same for the same contents: images are built reproducibly. */
function uuidOf(parts: readonly string[]): string {
  const hex = createHash('sha256').update(parts.join('\n')).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Paragraphs of a dpkg status file. */
export function debianPackages(status: string, distribution = 'debian'): Component[] {
  return status.split('\n\n').flatMap((paragraph) => {
    const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(paragraph)?.[1];
    const [name, version, architecture] = [field('Package'), field('Version'), field('Architecture')];
    if (name === undefined || version === undefined) return [];
    const purl = `pkg:deb/${distribution}/${name}@${encodeURIComponent(version)}?arch=${architecture ?? 'all'}`;
    return [{ type: 'library', 'bom-ref': `deb:${name}`, name, version, purl }];
  });
}

if (import.meta.main) {
  const [root, name] = process.argv.slice(2);
  if (root === undefined || name === undefined) throw new Error('usage: node tools/security/sbom.ts FOLDER NAME');
  const nodeVersion = process.versions.node;
  console.log(JSON.stringify(bomOf({ root: resolve(root), name, nodeVersion }), undefined, 2));
}
