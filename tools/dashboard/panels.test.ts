import { expect, it } from 'vitest';
import { selectorsOf } from '../../tests/helpers/promql.ts';
import { allMetrics } from '../metrics/reference.ts';
import { ROWS } from './panels.ts';

it('shows every metric of router, runtime and operator in a panel', () => {
  const panels = ROWS.flatMap((row) => row.panels);
  // What a panel is joined with is not shown by it.
  const shown = panels.flatMap(({ queries }) =>
    queries.flatMap(({ expr }) => selectorsOf(expr.replaceAll(/and on \(instance\) [^)]*\)?/g, ''))),
  );
  const names = new Set(shown.map(({ metric }) => metric.replace(/_(bucket|sum|count)$/, '')));
  const own = [...allMetrics()].flatMap(([process, metrics]) => (process === 'every process' ? [] : metrics));
  expect(own.length).toBeGreaterThan(50);
  expect(own.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([]);
});

it('gives every panel a title of its own', () => {
  const titles = ROWS.flatMap((row) => row.panels).map(({ title }) => title);
  expect(titles.filter((title, at) => titles.indexOf(title) !== at)).toEqual([]);
});
