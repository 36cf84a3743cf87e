import { expect, it } from 'vitest';
import { printTime, renderMachines, renderNewcomer, STEPS } from './newcomer.ts';
import type { NewcomerTimes } from './newcomer.ts';

const seconds = Object.fromEntries(Object.keys(STEPS).map((step, at) => [step, 30 * at])) as NewcomerTimes['seconds'];

it('prints minutes and seconds, rounded up', () => {
  expect([0, 0.2, 59, 59.1, 61, 600].map(printTime)).toEqual(['0:00', '0:01', '0:59', '1:00', '1:01', '10:00']);
});

it('adds the steps up in their order, and names the machine', () => {
  const text = renderNewcomer({ machine: 'two cores', date: '2026-11-30', seconds });
  expect(
    text
      .split('\n')
      .slice(2, 5)
      .map((line) =>
        line
          .split('|')
          .slice(2, 4)
          .map((cell) => cell.trim()),
      ),
  ).toEqual([
    ['0:00', '0:00'],
    ['0:30', '0:30'],
    ['1:00', '1:30'],
  ]);
  expect(text).toContain('Measured on 2026-11-30, on two cores.');
});

it('says of a step that it was not measured, and leaves it out of the sum', () => {
  const measured = Object.fromEntries(Object.entries(seconds).filter(([step]) => step !== 'vector'));
  const rows = renderNewcomer({ machine: '', date: '', seconds: measured }).split('\n');
  expect(rows.find((row) => row.includes('first vector, by'))).toMatch(/\| not measured yet \| – \|$/);
  expect(rows.find((row) => row.includes('`models/`'))).toMatch(/\| 1:30 \| 2:00 \|$/);
});

it('has a row for each machine, and says what was not measured', () => {
  const root = { seconds: 61, disk: 747.4, downloaded: 320 };
  const [, , ...rows] = renderMachines({ machine: '', date: '', seconds: {}, machines: { root } }).split('\n');
  expect(rows[0]).toMatch(/\| 320 \| 747 \| 1:01 \|$/);
  expect(rows[1]).toMatch(/\| not counted \| not measured yet \| not measured yet \|$/);
});
