// `npm run build [PROCESS...]`: each process as a few files in dist/PROCESS, its packages inside, because a start that reads hundreds of files takes longer.
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { rolldown } from 'rolldown';
import type { Plugin } from 'rolldown';

export interface Bundled {
  /** Folders of packages whose code went into the bundles. */
  readonly inside: ReadonlySet<string>;
  /** Names of packages that stay where npm put them. */
  readonly outside: ReadonlySet<string>;
  /** Files of packages that are served, not run, as `package/file`. */
  readonly served: ReadonlySet<string>;
}

const PROCESSES = ['operator', 'router', 'runtime'] as const;

/** They load native code from their own folder. */
const LEFT_OUTSIDE = ['onnxruntime-node', 'tokenizers'];

/** What a process reads of the project besides code. */
const FILES: Readonly<Record<string, readonly string[]>> = { router: ['router/status/page'] };

const SERVED = /\brequire\.resolve\('([^']+)'\)/g;
const THREAD = /\bthreadUrl\(\s*new URL\('(\.[^']+)\.ts', import\.meta\.url\)/g;

/** `a/node_modules/@b/c/d.js` → `a/node_modules/@b/c`. */
export function packageFolderOf(file: string): string | undefined {
  const [, folder] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file.split(sep).join('/')) ?? [];
  return folder;
}

/**
 * A bundle is one folder, which stands for the project's: code that looks for files finds them below it where the source
 * has them. Files of threads are entries of their own.
 */
function keepPlaces(root: string, served: Set<string>): Plugin {
  const placeOf = (source: string): string => relative(root, source).replace(/\.ts$/, '.js');
  return {
    name: 'keep-places',
    transform: {
      filter: { code: 'import.meta.url' },
      handler(code, id) {
        if (!id.startsWith(root) || packageFolderOf(id) !== undefined) return undefined;
        for (const [, file = ''] of code.matchAll(SERVED)) served.add(file);
        for (const [, thread = ''] of code.matchAll(THREAD)) {
          const source = resolve(id, '..', `${thread}.ts`);
          this.emitFile({ type: 'chunk', id: source, fileName: placeOf(source) });
        }
        const moved = code.replaceAll('import.meta.url', `new URL('./${placeOf(id)}', import.meta.url).href`);
        // No map: lines stay where they were.
        return { code: moved, map: null };
      },
    },
  };
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
}

/** Some packages take what they happen to find, and fare without it: a tool of development is not theirs to find. */
function developmentOnly(root: string): ReadonlySet<string> {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const nameOf = (folder: string): string => folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const names = (dev: boolean): string[] =>
    Object.keys(packages)
      .filter((folder) => (packages[folder]?.dev === true) === dev)
      .map(nameOf);
  return new Set(names(true)).difference(new Set(names(false)));
}

async function bundleOne(root: string, name: string, external: readonly string[]): Promise<Bundled> {
  const dir = join(root, 'dist', name);
  rmSync(dir, { recursive: true, force: true });
  const served = new Set<string>();
  const build = await rolldown({
    cwd: root,
    platform: 'node',
    input: { main: join(root, name, 'main.ts') },
    external: [...external],
    plugins: [keepPlaces(root, served)],
  });
  const { output } = await build.write({ dir, format: 'esm', sourcemap: true, chunkFileNames: '[name]-[hash].js' });
  await build.close();
  for (const files of FILES[name] ?? []) cpSync(join(root, files), join(dir, files), { recursive: true });
  const chunks = output.filter((file) => file.type === 'chunk');
  const imported = chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports]);
  const modules = chunks.flatMap(({ moduleIds }) => moduleIds).map(packageFolderOf);
  return {
    inside: new Set(modules.filter((folder) => folder !== undefined)),
    outside: new Set(LEFT_OUTSIDE.filter((one) => imported.includes(one))),
    served,
  };
}

const union = (sets: readonly ReadonlySet<string>[]): ReadonlySet<string> => new Set(sets.flatMap((set) => [...set]));

export async function bundle(root: string, processes: readonly string[]): Promise<Bundled> {
  const external = [...LEFT_OUTSIDE, ...developmentOnly(root)];
  const all = await Promise.all(processes.map((name) => bundleOne(root, name, external)));
  return {
    inside: union(all.map(({ inside }) => inside)),
    outside: union(all.map(({ outside }) => outside)),
    served: union(all.map(({ served }) => served)),
  };
}

if (import.meta.main) {
  const asked = process.argv.slice(2);
  await bundle(resolve(import.meta.dirname, '..', '..'), asked.length > 0 ? asked : PROCESSES);
}
