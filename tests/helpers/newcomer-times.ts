// The times of a newcomer's steps and the sizes of installations: told when they are measured, and with UPDATE_NEWCOMER=1 written to where the documentation takes them from.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { MACHINES, STEPS } from '../../tools/docs/newcomer.ts';
import type { MachineName, MachineNumbers, NewcomerTimes, Step } from '../../tools/docs/newcomer.ts';

const FILE = join(import.meta.dirname, '../../tools/docs/newcomer.json');

const machine = (): string =>
  `${cpus().length} cores of ${cpus()[0]?.model.trim() ?? 'an unknown processor'} with ${Math.round(totalmem() / 2 ** 30)} GiB`;

/** What was written before of other steps and machines stays. */
function write(change: (before: NewcomerTimes) => Partial<NewcomerTimes>): void {
  if (process.env['UPDATE_NEWCOMER'] !== '1') return;
  const before = JSON.parse(readFileSync(FILE, 'utf8')) as NewcomerTimes;
  const date = new Date().toISOString().slice(0, 10);
  const times: NewcomerTimes = { ...before, machine: machine(), date, ...change(before) };
  writeFileSync(FILE, `${JSON.stringify(times, undefined, 2)}\n`);
}

export function publishTimes(taken: Partial<Record<Step, number>>): void {
  for (const [step, seconds] of Object.entries(taken)) console.log(`${STEPS[step as Step]}: ${seconds.toFixed(1)} s`);
  const rounded = Object.entries(taken).map(([step, time]) => [step, Math.round(time * 10) / 10]);
  write(({ seconds }) => ({ seconds: { ...seconds, ...(Object.fromEntries(rounded) as object) } }));
}

export function publishMachine(name: MachineName, numbers: MachineNumbers): void {
  const { seconds, disk, downloaded } = numbers;
  const all = downloaded === undefined ? '' : `, ${downloaded} MB downloaded`;
  console.log(`${MACHINES[name]}: ${seconds} s, ${disk} MB installed${all}`);
  write(({ machines }) => ({ machines: { ...machines, [name]: numbers } }));
}
