// `node tools/images/prune.ts FOLDER PROCESS...`: bundles these processes and leaves of node_modules only what they need on this platform.
// Run in the build stage of the Dockerfiles.
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { bundle, packageFolderOf } from '../build/bundle.ts';
import type { Bundled } from '../build/bundle.ts';

/** Dependencies that are declared but never used by a server process: those of an installer. */
const NEVER_USED = new Set(['global-agent', 'adm-zip']);
const NOT_FOR_RUNNING = /\.(d\.[cm]?ts|[cm]?ts|map|md|markdown|flow)$|(^|\/)(\.github|__tests__|\.vscode)\//i;

/** Folders of the named packages and of all they depend on, found as Node finds them. */
export function installedClosure(root: string, names: Iterable<string>): Set<string> {
  const kept = new Set<string>();
  const waiting = [...names].map((name) => ({ name, from: root }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const folder = NEVER_USED.has(next.name) ? undefined : findPackage(next.name, next.from, root);
    if (folder === undefined || kept.has(folder)) continue;
    kept.add(folder);
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, unknown>;
    for (const field of ['dependencies', 'optionalDependencies', 'peerDependencies']) {
      waiting.push(...Object.keys(manifest[field] ?? {}).map((name) => ({ name, from: folder })));
    }
  }
  return kept;
}

function findPackage(name: string, from: string, root: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (folder === root || folder === dirname(folder)) return undefined;
  }
}

/** Whether a file in node_modules is needed when the platform is `linux-x64-gnu` or alike. */
export function isNeeded(file: string, platform: string): boolean {
  if (NOT_FOR_RUNNING.test(file)) return false;
  const addon = /\.((?:android|darwin|freebsd|linux|win32)-[\w-]+)\.node$/.exec(file);
  if (addon !== null) return addon[1] === platform;
  const library = /\/bin\/napi-v\d+\/(\w+)\/(\w+)\//.exec(file);
  return library === null || `${library[1]!}-${library[2]!}` === platform.split('-').slice(0, 2).join('-');
}

function* walk(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else yield path;
  }
}

/** Of a package inside a bundle: what says who wrote it and under which licence. */
const CREDITS = /^(package\.json|(licen[cs]e|copying|notice)\b.*)$/i;

/** In `node_modules`: packages outside the bundles, the credits of those inside, and what is served. */
export function prune(root: string, { inside, outside, served }: Bundled, platform: string): void {
  const modules = join(root, 'node_modules');
  const kept = installedClosure(root, outside);
  const files = new Set([...served].map((file) => join(modules, file)));
  const credited = new Set([...inside, ...[...files].map(packageFolderOf)]);
  for (const file of walk(modules)) {
    // What lies beside the packages is npm's own.
    const owner = packageFolderOf(file) ?? modules;
    const isCredit = credited.has(owner) && CREDITS.test(relative(owner, file));
    if (!isCredit && !files.has(file) && !(kept.has(owner) && isNeeded(file, platform))) rmSync(file, { force: true });
  }
  removeEmptyFolders(modules);
}

function removeEmptyFolders(folder: string): void {
  for (const entry of readdirSync(folder)) {
    const path = join(folder, entry);
    if (statSync(path).isDirectory()) removeEmptyFolders(path);
  }
  if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
}

if (import.meta.main) {
  const [root, ...processes] = process.argv.slice(2);
  if (root === undefined || processes.length === 0)
    throw new Error('usage: node tools/images/prune.ts FOLDER PROCESS...');
  const bundled = await bundle(resolve(root), processes);
  prune(resolve(root), bundled, `${process.platform}-${process.arch}-gnu`);
}
