// `npm run check`: every static check, two at a time, with one line each and the output of those that fail.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

const CHECKS: Readonly<Record<string, string>> = {
  types: 'check:types',
  lint: 'check:lint',
  format: 'check:format',
  imports: 'check:imports',
  'dead code': 'check:dead',
};

interface Outcome {
  readonly name: string;
  readonly code: number;
  readonly output: string;
  readonly seconds: number;
}

async function run(name: string, script: string): Promise<Outcome> {
  const started = Date.now();
  const child = spawn('npm', ['run', '--silent', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)));
  return { name, code, output, seconds: (Date.now() - started) / 1000 };
}

const waiting = Object.entries(CHECKS);
const outcomes: Outcome[] = [];

async function worker(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const outcome = await run(...next);
    outcomes.push(outcome);
    console.log(`${outcome.code === 0 ? 'ok  ' : 'FAIL'} ${outcome.name} (${outcome.seconds.toFixed(1)} s)`);
    if (outcome.code !== 0) console.log(outcome.output);
  }
}

await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
process.exitCode = outcomes.every((outcome) => outcome.code === 0) ? 0 : 1;
