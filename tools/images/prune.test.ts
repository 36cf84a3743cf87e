// What stays of node_modules in an image: packages outside the bundles, credits of those inside, binaries of one platform.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bundled } from '../build/bundle.ts';
import { isNeeded, prune } from './prune.ts';

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

  const left = (path: string): boolean => existsSync(join(root, path));
  const bundled = ({ inside = [], outside = [], served = [] }: Partial<Record<keyof Bundled, string[]>>): Bundled => ({
    inside: new Set(inside),
    outside: new Set(outside),
    served: new Set(served),
  });

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'prune-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('keeps packages outside the bundles with their nested dependencies, and nothing else', () => {
    addPackage('node_modules/engine', ['shared', 'adm-zip']);
    addPackage('node_modules/engine/node_modules/shared', ['deep']);
    addPackage('node_modules/shared', ['unwanted']);
    for (const name of ['deep', 'unwanted', 'adm-zip', '@scope/log', '@scope/other']) {
      addPackage(`node_modules/${name}`);
    }

    prune(root, bundled({ outside: ['engine', '@scope/log'] }), 'linux-x64-gnu');

    const kept = ['node_modules/engine/node_modules/shared/index.js', 'node_modules/deep/index.js'];
    expect([...kept, 'node_modules/@scope/log/index.js'].filter((path) => !left(path))).toEqual([]);
    const gone = ['node_modules/shared', 'node_modules/unwanted', 'node_modules/adm-zip', 'node_modules/@scope/other'];
    expect(gone.filter(left)).toEqual([]);
  });

  it('keeps of a package inside a bundle its name and licence, and of one that is served the files as well', () => {
    for (const name of ['inner', '@scope/pages']) {
      addPackage(`node_modules/${name}`);
      for (const file of ['LICENSE', 'NOTICE.txt', 'page.css', 'dist/package.json'])
        write(`node_modules/${name}/${file}`);
    }

    const inside = [join(root, 'node_modules', 'inner')];
    prune(root, bundled({ inside, served: ['@scope/pages/page.css'] }), 'linux-x64-gnu');

    const files = ['LICENSE', 'NOTICE.txt', 'dist', 'index.js', 'package.json', 'page.css'];
    const leftOf = (name: string): string[] => files.filter((file) => left(`node_modules/${name}/${file}`));
    expect(leftOf('inner')).toEqual(['LICENSE', 'NOTICE.txt', 'package.json']);
    expect(leftOf('@scope/pages')).toEqual(['LICENSE', 'NOTICE.txt', 'package.json', 'page.css']);
  });
});
