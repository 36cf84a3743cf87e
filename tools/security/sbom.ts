// The bill of materials of a folder that becomes an image: what npm says of the dependencies (`npm sbom`), less the packages that were pruned, and
// Node.js. CycloneDX. `node tools/security/sbom.ts FOLDER NAME <ALL`: run in the build stage of the Dockerfiles.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { join, resolve } from 'node:path';

export interface Component {
  readonly type: string;
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly licenses?: readonly object[];
  readonly hashes?: readonly object[];
}

export interface Bom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly version: number;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

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

/** `name@version` of every package below the root, as npm's bills refer to them; a stub of one that is never used has neither. */
export function installedIn(root: string): ReadonlySet<string> {
  const refs = packageFolders(root).flatMap((folder) => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Partial<Component>;
    const { name, version } = manifest;
    return name === undefined || version === undefined ? [] : [`${name}@${version}`];
  });
  return new Set(refs);
}

const componentOf = ({ type, name, version, purl, licenses, hashes, ...rest }: Component): Component => ({
  ...{ type, 'bom-ref': rest['bom-ref'], name, version },
  ...(purl !== undefined && { purl }),
  ...(licenses !== undefined && { licenses }),
  ...(hashes !== undefined && { hashes }),
});

/**
 * The bill of the container `name` out of npm's, with `more` that is no npm package. Only what does not change between two builds: images are
 * built reproducibly. Throws when npm does not know a package that is there.
 */
export function billOf(all: Bom, installed: ReadonlySet<string>, name: string, more: readonly Component[]): Bom {
  const packages = all.components.filter((component) => installed.has(component['bom-ref'])).map(componentOf);
  const components = [...more, ...packages];
  const refs = new Set(components.map((component) => component['bom-ref']));
  const unknown = [...installed].filter((ref) => !refs.has(ref));
  if (unknown.length > 0) throw new Error(`npm sbom does not list ${unknown.join(', ')}`);
  const { version } = all.metadata.component;
  return {
    bomFormat: all.bomFormat,
    specVersion: all.specVersion,
    version: 1,
    metadata: { component: { type: 'container', 'bom-ref': name, name, version } },
    components,
    dependencies: [
      { ref: name, dependsOn: [...refs] },
      ...all.dependencies
        .filter(({ ref }) => refs.has(ref))
        .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => refs.has(one)) })),
    ],
  };
}

/** Paragraphs of a dpkg status file. */
export function debianPackages(status: string): Component[] {
  return status.split('\n\n').flatMap((paragraph) => {
    const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(paragraph)?.[1];
    const [name, version, architecture = 'all'] = [field('Package'), field('Version'), field('Architecture')];
    if (name === undefined || version === undefined) return [];
    const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`;
    return [{ type: 'library', 'bom-ref': `deb:${name}`, name, version, purl }];
  });
}

const nodeOf = (version: string): Component => ({
  ...{ type: 'platform', 'bom-ref': 'node', name: 'node', version, purl: `pkg:generic/node@${version}` },
  licenses: [{ license: { id: 'MIT' } }],
});

if (import.meta.main) {
  const [root, name] = process.argv.slice(2);
  if (root === undefined || name === undefined) throw new Error('usage: node tools/security/sbom.ts FOLDER NAME <ALL');
  const all = JSON.parse(await text(process.stdin)) as Bom;
  const bill = billOf(all, installedIn(resolve(root)), name, [nodeOf(process.versions.node)]);
  console.log(JSON.stringify(bill, undefined, 2));
}
