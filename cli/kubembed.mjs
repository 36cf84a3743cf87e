#!/usr/bin/env node
// The npm bin: runs cli/main.ts on the Node version that the package brings, whatever Node started this file.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureInstalled } from './setup.mjs';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const require = createRequire(import.meta.url);

const isInstalled = () => {
  try {
    return require.resolve('node/package.json') !== '';
  } catch {
    return false;
  }
};

// A fresh clone has no dependencies yet. Those that are there are left alone: other processes may be using them.
if (!isInstalled()) {
  try {
    ensureInstalled();
  } catch (error) {
    console.error(`kubembed: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
const major = Number(process.versions.node.split('.')[0]);
const node = major >= 24 ? process.execPath : join(dirname(require.resolve('node/package.json')), 'bin', 'node');

const child = spawn(node, ['--disable-warning=ExperimentalWarning', main, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// A terminal tells the command of Ctrl-C itself. Told again at once, it could die of it in the moment it takes to leave.
const INTERRUPT_AFTER_MS = process.stdin.isTTY ? 2000 : 0;
process.on('SIGINT', () => setTimeout(() => child.kill('SIGINT'), INTERRUPT_AFTER_MS).unref());
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + (signal === null ? 1 : constants.signals[signal]);
});
