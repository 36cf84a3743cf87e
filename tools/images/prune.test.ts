// What stays in an image: code that the process loads, packages that this code needs, binaries of one platform.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isNeeded, prune, specifiersIn } from './prune.ts';

describe('specifiersIn', () => {
  it('finds static and dynamic imports, re-exports and worker URLs', () => {
    const source = `import a from 'a'; import 'b'; export { c } from "c"; const d = await import('d');
      new Worker(new URL('./e.ts', import.meta.url)); new URL(\`./f\${ending}\`, import.meta.url); const from = 'not this';`;
    expect(specifiersIn(source)).toEqual(['a', 'b', 'c', 'd', './e.ts', './f']);
  });
});

describe('isNeeded', () => {
  it.each([
    ['node_modules/x/index.js', true],
    ['node_modules/x/index.d.ts', false],
    ['node_modules/x/index.js.map', false],
    ['node_modules/x/LICENSE', true],
    ['node_modules/tokenizers/tokenizers.linux-x64-gnu.node', true],
    ['node_modules/tokenizers/tokenizers.linux-x64-musl.node', false],
    ['node_modules/tokenizers/tokenizers.darwin-arm64.node', false],
    ['node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1', true],
    ['node_modules/onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1', false],
    ['node_modules/onnxruntime-node/bin/napi-v6/win32/x64/onnxruntime.dll', false],
  ])('%s: %s', (file, needed) => {
    expect(isNeeded(file, 'linux-x64-gnu')).toBe(needed);
  });
});

describe('prune', () => {
  let root: string;
  const write = (path: string, text = ''): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const addPackage = (path: string, dependencies: readonly string[] = []): void => {
    write(
      `${path}/package.json`,
      JSON.stringify({ dependencies: Object.fromEntries(dependencies.map((d) => [d, '*'])) }),
    );
    write(`${path}/index.js`);
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'prune-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('keeps one process, its workers and its packages with their nested dependencies, and nothing else', () => {
    write('dist/runtime/main.js', `import '../common/log.js'; new URL('./worker.ts', import.meta.url);`);
    write('dist/runtime/worker.js', `import 'engine';`);
    write('dist/common/log.js', `import '@scope/log'; import 'node:fs';`);
    write('dist/operator/main.js', `import 'cluster-client';`);
    addPackage('node_modules/engine', ['shared', 'sharp']);
    addPackage('node_modules/engine/node_modules/shared', ['deep']);
    addPackage('node_modules/shared', ['unwanted']);
    for (const name of ['deep', 'unwanted', 'sharp', 'cluster-client', '@scope/log', '@scope/other']) {
      addPackage(`node_modules/${name}`);
    }

    prune(root, ['runtime'], 'linux-x64-gnu');

    const left = (path: string): boolean => existsSync(join(root, path));
    const kept = ['dist/runtime/worker.js', 'dist/common/log.js', 'node_modules/engine/node_modules/shared/index.js'];
    expect([...kept, 'node_modules/deep/index.js', 'node_modules/@scope/log/index.js'].filter((p) => !left(p))).toEqual(
      [],
    );
    const gone = ['dist/operator', 'node_modules/shared', 'node_modules/unwanted', 'node_modules/sharp'];
    expect([...gone, 'node_modules/cluster-client', 'node_modules/@scope/other'].filter(left)).toEqual([]);
  });
});
