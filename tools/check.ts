// `npm run check`: every static check, two at a time, with one line each and the output of those that fail.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { report } from './results.ts';

const CHECKS: Readonly<Record<string, string>> = {
  types: 'check:types',
  lint: 'check:lint',
  format: 'check:format',
  imports: 'check:imports',
  'dead code': 'check:dead',
};

async function run(name: string, script: string): Promise<number> {
  const started = Date.now();
  const child = spawn('npm', ['run', '--silent', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)));
  console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (code !== 0) console.log(output);
  return code;
}

const waiting = Object.entries(CHECKS).values();
const codes: number[] = [];

async function runNext(): Promise<void> {
  for (const [name, script] of waiting) codes.push(await run(name, script));
}

await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, runNext));
const failed = codes.filter((code) => code !== 0).length;
report({ suite: 'check', passed: codes.length - failed, failed });
