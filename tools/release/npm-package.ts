// `node tools/release/npm-package.ts FOLDER NAME URL`: the npm package of the command. Node runs no TypeScript from node_modules, so its types are
// taken off, line by line; nothing else changes.
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');
/** What the command and the local mode that it starts are made of. */
const WINGS = ['api', 'cli', 'common', 'hub', 'kube', 'local', 'operator', 'router', 'runtime'];
const ALONGSIDE = [
  ...['LICENSE', 'CHANGELOG.md', 'supported_models.txt'],
  ...['router/status/page', 'cli/measured.json', 'cli/corpus'],
];

const LAUNCHER = `#!/usr/bin/env node
if (Number(process.versions.node.split('.')[0]) < 24) {
  console.error(\`kubembed: Node 24 or newer is needed, and this is \${process.versions.node}\`);
  process.exit(1);
}
await import('./main.js');
`;

/** Specifiers and addresses of the project's own files, which end in .ts as long as they are TypeScript. */
export const toJavaScript = (code: string): string =>
  stripTypeScriptTypes(code).replaceAll(/(['"])(\.{1,2}\/[^'"\n]*)\.ts\1/g, '$1$2.js$1');

interface Manifest {
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

export function writePackage(folder: string, name: string, url: string): void {
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  const { version, description, license, dependencies } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  ) as Manifest;
  for (const file of globSync(`{${WINGS.join(',')}}/**/*.ts`, { cwd: ROOT })) {
    if (/\.test\.ts$|\.d\.ts$|(^|\/)testdata\//.test(file)) continue;
    put(file.replace(/\.ts$/, '.js'), toJavaScript(readFileSync(join(ROOT, file), 'utf8')));
  }
  for (const path of ALONGSIDE) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  put('cli/kubembed.js', LAUNCHER);
  put('README.md', `# ${name}\n\nThe \`kubembed\` command: ${description} See <${url}>.\n\n    npx ${name} --help\n`);
  const manifest = {
    ...{ name, version, description, license, type: 'module' },
    engines: { node: '>=24' },
    bin: { kubembed: 'cli/kubembed.js' },
    repository: { type: 'git', url: `git+${url}.git` },
    homepage: `${url}#readme`,
    bugs: `${url}/issues`,
    dependencies,
  };
  put('package.json', `${JSON.stringify(manifest, undefined, 2)}\n`);
}

if (import.meta.main) {
  const [folder, name, url] = process.argv.slice(2);
  if (folder === undefined || name === undefined || url === undefined)
    throw new Error('usage: node tools/release/npm-package.ts FOLDER NAME URL');
  writePackage(folder, name, url);
}
