// The times of a newcomer's steps: told when they are measured, and with UPDATE_NEWCOMER=1 written to where the documentation takes them from.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { STEPS } from '../../tools/docs/newcomer.ts';
import type { NewcomerTimes, Step } from '../../tools/docs/newcomer.ts';

const FILE = join(import.meta.dirname, '../../tools/docs/newcomer.json');

const machine = (): string =>
  `${cpus().length} cores of ${cpus()[0]?.model.trim() ?? 'an unknown processor'} with ${Math.round(totalmem() / 2 ** 30)} GiB`;

/** What was written before of other steps stays. */
export function publishTimes(taken: Partial<Record<Step, number>>): void {
  for (const [step, seconds] of Object.entries(taken)) console.log(`${STEPS[step as Step]}: ${seconds.toFixed(1)} s`);
  if (process.env['UPDATE_NEWCOMER'] !== '1') return;
  const { seconds } = JSON.parse(readFileSync(FILE, 'utf8')) as NewcomerTimes;
  const rounded = Object.entries({ ...seconds, ...taken }).map(([step, time]) => [step, Math.round(time * 10) / 10]);
  const times = {
    machine: machine(),
    date: new Date().toISOString().slice(0, 10),
    seconds: Object.fromEntries(rounded) as object,
  };
  writeFileSync(FILE, `${JSON.stringify(times, undefined, 2)}\n`);
}
