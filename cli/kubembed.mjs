#!/usr/bin/env node
// The npm bin: runs cli/main.ts on this Node, or on the one that kubembed brings where this is older.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ensureInstalled, ensureNode, environment } from './setup.mjs';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));

let node;
try {
  // A fresh clone has no dependencies yet. Those that are there are left alone: other processes may be using them.
  const isFresh = !existsSync(new URL('../node_modules/undici/package.json', import.meta.url));
  node = await (isFresh ? ensureInstalled() : ensureNode());
} catch (error) {
  console.error(`kubembed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}

const child = spawn(node, ['--disable-warning=ExperimentalWarning', main, ...process.argv.slice(2)], {
  // Hints name the command as it was called.
  argv0: process.argv[1],
  env: environment(),
  // The channel tells the child when this process is gone, kill -9 included.
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
});
// A terminal tells the command of Ctrl-C itself. Told again at once, it could die of it in the moment it takes to leave.
const INTERRUPT_AFTER_MS = process.stdin.isTTY ? 2000 : 0;
process.on('SIGINT', () => setTimeout(() => child.kill('SIGINT'), INTERRUPT_AFTER_MS).unref());
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + (signal === null ? 1 : constants.signals[signal]);
});
