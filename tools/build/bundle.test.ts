// A small project of one process, bundled and run: it finds its files, its thread and its package outside where the source has them.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withSourceLines } from '../../common/obs/source-lines.ts';
import { bundle, packageFolderOf } from './bundle.ts';
import type { Bundled } from './bundle.ts';

const FILES = {
  'package.json': '{"name": "project", "type": "module"}',
  'package-lock.json': '{"packages": {"node_modules/inner": {}, "node_modules/tool": {"dev": true}}}',
  'server/main.ts': `
    import { once } from 'node:events';
    import { createRequire } from 'node:module';
    import { Worker } from 'node:worker_threads';
    import { threadUrl } from '../common/util/process.ts';
    import { page } from './routes/page.ts';
    import { word } from 'inner';
    import { native } from 'tokenizers';
    const require = createRequire(import.meta.url);
    const worker = new Worker(threadUrl(new URL('./work/thread.ts', import.meta.url)));
    const [said] = await once(worker, 'message') as [string];
    const served = require.resolve('pages/page.css').endsWith('page.css');
    if (process.argv[2] === 'fail') throw new Error('failed');
    console.log(JSON.stringify([said, page(), word, native, served]));`,
  'server/work/thread.ts': `
    import { parentPort } from 'node:worker_threads';
    import { word } from 'inner';
    parentPort?.postMessage('thread ' + word);`,
  'server/routes/page.ts': `
    import { readFileSync } from 'node:fs';
    export const page = (): string => readFileSync(new URL('../page/index.html', import.meta.url), 'utf8');`,
  'node_modules/inner/package.json': '{"name": "inner", "main": "index.js"}',
  'node_modules/inner/index.js': `
    exports.word = 'inside';
    try { exports.word += require('tool'); } catch { exports.word += ' alone'; }`,
  'node_modules/tool/package.json': '{"name": "tool", "main": "index.js"}',
  'node_modules/tool/index.js': `module.exports = ' with a tool';`,
  'node_modules/tokenizers/package.json': '{"name": "tokenizers", "type": "module", "main": "index.js"}',
  'node_modules/tokenizers/index.js': `export const native = 'outside';`,
  'node_modules/pages/package.json': '{"name": "pages"}',
  'node_modules/pages/page.css': '',
};

describe('bundle', () => {
  let root: string;
  let bundled: Bundled;
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const main = (): string => join(root, 'dist', 'server', 'main.js');

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'bundle-'));
    for (const [path, text] of Object.entries(FILES)) write(path, text);
    const thread = 'common/util/process.ts';
    write(thread, readFileSync(join(import.meta.dirname, '..', '..', thread), 'utf8'));
    bundled = await bundle(root, ['server']);
    // Only the bundle and what is named as outside must be needed.
    write('dist/server/server/page/index.html', 'a page');
    for (const folder of ['server', 'common', 'node_modules/inner', 'node_modules/tool'])
      rmSync(join(root, folder), { recursive: true });
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it('runs without its sources, with its thread, its files and its packages', () => {
    expect(JSON.parse(execFileSync(process.execPath, [main()], { encoding: 'utf8' }))).toEqual([
      'thread inside alone',
      'a page',
      'inside alone',
      'outside',
      true,
    ]);
  });

  it('names no folder of the machine that made it', () => {
    expect(readFileSync(join(root, 'dist', 'server', 'main.js'), 'utf8')).not.toContain(root);
  });

  it('tells which packages it holds, which it needs beside it, and which files it serves', () => {
    expect([...bundled.inside]).toEqual([join(root, 'node_modules', 'inner')]);
    expect([...bundled.outside]).toEqual(['tokenizers']);
    expect([...bundled.served]).toEqual(['pages/page.css']);
  });

  it('has what tells the lines of the source in its stack traces', () => {
    const line = FILES['server/main.ts'].split('\n').findIndex((text) => text.includes(`'fail'`)) + 1;
    const { stderr } = spawnSync(process.execPath, [main(), 'fail'], { encoding: 'utf8' });
    expect(withSourceLines(stderr)).toContain(`${join(root, 'server', 'main.ts')}:${line}:`);
  });
});

describe('packageFolderOf', () => {
  it.each([
    ['/a/node_modules/b/c/d.js', '/a/node_modules/b'],
    ['/a/node_modules/@b/c/d.js', '/a/node_modules/@b/c'],
    ['/a/node_modules/b/node_modules/c/d.js', '/a/node_modules/b/node_modules/c'],
    ['/a/runtime/main.ts', undefined],
  ])('%s: %s', (file, folder) => {
    expect(packageFolderOf(file)).toBe(folder);
  });
});
