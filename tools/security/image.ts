// The contents of an image as a list of findings: what must not be in it, read from a docker-archive as build.sh makes it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { debianPackages, installedIn, packageFolders } from './sbom.ts';
import type { Bom } from './sbom.ts';
import { secretsIn } from './secrets.ts';

export interface ImageConfig {
  readonly config: { readonly User?: string };
}

export interface ImageFile {
  readonly path: string;
  /** As `ls -l` prints it. */
  readonly mode: string;
}

export interface Image {
  readonly config: ImageConfig;
  readonly files: readonly ImageFile[];
  /** Where `app` and lists of packages were unpacked to. */
  readonly folder: string;
}

/** Programs that nothing in the image runs, and that bring more in. A shell stays: `kubectl exec` is how support looks at a pod. */
const TOOLS =
  /^(usr\/)?(local\/)?s?bin\/(busybox|apt|apt-get|dpkg|perl[\d.]*|python[\d.]*|curl|wget|nc|npm|npx|corepack|yarn)$/;
const UNPACKED = ['app', 'var/lib/dpkg/status', 'var/lib/dpkg/status.d', 'etc/passwd'];
const HUGE = 512 * 1024 * 1024;

const tar = (...args: string[]): string => execFileSync('tar', args, { maxBuffer: HUGE }).toString();

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
const plain = (path: string): string => path.replace(/^\.?\//, '').replace(/\/$/, '');

/** `-rwsr-xr-x root/root 12 2026-01-01 00:00 usr/bin/su -> target` */
function parseListing(listing: string): ImageFile[] {
  return lines(listing).map((line) => {
    const [mode = '', , , , , ...rest] = line.split(/\s+/);
    return { mode, path: plain(rest.join(' ').split(' -> ')[0]!.split(' link to ')[0]!) };
  });
}

/** Unpacks what is looked into, lists the rest; a later layer's whiteouts take away what an earlier one brought. */
export function openImage(archive: string, folder: string): Image {
  const parts = join(folder, 'archive');
  const root = join(folder, 'root');
  for (const path of [parts, root]) mkdirSync(path, { recursive: true });
  tar('-xf', archive, '-C', parts);
  const read = (path: string): unknown => JSON.parse(readFileSync(join(parts, path), 'utf8'));
  const [manifest] = read('manifest.json') as readonly { Config: string; Layers: readonly string[] }[];
  if (manifest === undefined) throw new Error(`${archive} holds no image`);
  const files = new Map<string, ImageFile>();
  for (const layer of manifest.Layers) {
    const path = join(parts, layer);
    for (const file of parseListing(tar('-tvf', path))) {
      const whiteout = /^(.*\/)?\.wh\.(.+)$/.exec(file.path);
      if (whiteout === null) files.set(file.path, file);
      else files.delete(`${whiteout[1] ?? ''}${whiteout[2]!}`);
    }
    const present = lines(tar('-tf', path)).filter((name) =>
      UNPACKED.some((kept) => plain(name) === kept || plain(name).startsWith(`${kept}/`)),
    );
    if (present.length > 0) {
      execFileSync('tar', ['-xf', path, '-C', root, '--no-same-owner', '--no-recursion', '-T', '-'], {
        input: present.join('\n'),
      });
    }
  }
  return { config: read(manifest.Config) as ImageConfig, files: [...files.values()], folder: root };
}

function* textFiles(folder: string): Generator<string> {
  for (const entry of existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* textFiles(path);
    else if (entry.isFile() && /\.(js|mjs|cjs|json|ya?ml|txt|env|sh|pem|key)$|^\.|^[A-Z]+$/.test(entry.name))
      yield path;
  }
}

type Finding = (image: Image, development: ReadonlySet<string>) => readonly string[];

const runsAsRoot: Finding = ({ config: { config } }) => {
  const user = config.User ?? '';
  return /^[1-9]\d*(:[1-9]\d*)?$/.test(user) ? [] : [`runs as "${user}", not as a numbered user other than root`];
};
const raisesRights: Finding = ({ files }) =>
  files
    .filter(({ mode }) => mode.startsWith('-') && (/^...s/i.test(mode) || /^-.{5}s/i.test(mode)))
    .map(({ path, mode }) => `${path} is setuid or setgid (${mode})`);
const anyoneWrites: Finding = ({ files }) =>
  files
    .filter(({ mode }) => /^[-d].{7}w/.test(mode) && !/t$/i.test(mode))
    .map(({ path }) => `${path} can be written by anyone`);
const hasTools: Finding = ({ files }) =>
  files.filter(({ path }) => TOOLS.test(path)).map(({ path }) => `${path} is of use to an intruder alone`);
const holdsSecrets: Finding = ({ folder, config }) => [
  ...secretsIn(JSON.stringify(config)).map((kind) => `the configuration or history holds a ${kind}`),
  ...[...textFiles(join(folder, 'app'))].flatMap((path) =>
    secretsIn(readFileSync(path, 'utf8')).map((kind) => `${path.slice(folder.length + 1)} holds a ${kind}`),
  ),
];
const isForDevelopment: Finding = ({ folder }, development) =>
  packageFolders(join(folder, 'app'))
    .map((path) => path.slice(join(folder, 'app').length + 1))
    .filter((path) => development.has(path))
    .map((path) => `${path} is a development dependency`);
const hasSources: Finding = ({ files }) =>
  files
    .filter(({ path }) => /^app\/(?!node_modules\/).*\.ts$|^app\/(tests|\.git|\.npmrc|\.env)(\/|$)/.test(path))
    .map(({ path }) => `${path} is no part of the product`);

/** The bill of materials that the image brings along: its npm packages and Node.js. */
const billIn = ({ folder }: Image): Bom =>
  JSON.parse(readFileSync(join(folder, 'app/sbom/sbom.cdx.json'), 'utf8')) as Bom;

const billIsWrong: Finding = (image) => {
  const installed = installedIn(join(image.folder, 'app'));
  const listed = new Set(
    billIn(image).components.flatMap(({ type, ...one }) => (type === 'library' ? one['bom-ref'] : [])),
  );
  return [
    ...[...installed.difference(listed)].map((ref) => `${ref} is not in the bill of materials`),
    ...[...listed.difference(installed)].map((ref) => `${ref} is in the bill of materials alone`),
  ];
};

const FINDINGS: readonly Finding[] = [
  runsAsRoot,
  raisesRights,
  anyoneWrites,
  hasTools,
  holdsSecrets,
  isForDevelopment,
  hasSources,
  billIsWrong,
];

/** @param development folders, as package-lock.json names them, of packages that are for development alone */
export function findingsIn(image: Image, development: ReadonlySet<string>): string[] {
  return FINDINGS.flatMap((find) => find(image, development));
}

function systemPackages(folder: string): ReturnType<typeof debianPackages> {
  const single = join(folder, 'var/lib/dpkg/status');
  const several = join(folder, 'var/lib/dpkg/status.d');
  const texts = [
    ...(existsSync(single) ? [readFileSync(single, 'utf8')] : []),
    ...(existsSync(several) ? readdirSync(several).map((name) => readFileSync(join(several, name), 'utf8')) : []),
  ];
  return texts.flatMap((text) => debianPackages(text));
}

/** Of the whole image: what it brings along, and Debian's packages. */
export function imageBom(image: Image): Bom {
  const bill = billIn(image);
  return { ...bill, components: [...bill.components, ...systemPackages(image.folder)] };
}
