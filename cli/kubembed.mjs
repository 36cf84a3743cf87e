#!/usr/bin/env node
// The npm bin: runs cli/main.ts on the Node version that the package brings, whatever Node started this file.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureInstalled } from '../tools/setup.mjs';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
// In a fresh clone the dependencies are not there yet.
if (existsSync(new URL('../package-lock.json', import.meta.url))) {
  try {
    ensureInstalled();
  } catch (error) {
    console.error(`kubembed: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
const require = createRequire(import.meta.url);
const major = Number(process.versions.node.split('.')[0]);
const node = major >= 24 ? process.execPath : join(dirname(require.resolve('node/package.json')), 'bin', 'node');

const child = spawn(node, ['--disable-warning=ExperimentalWarning', main, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + (signal === null ? 1 : constants.signals[signal]);
});
