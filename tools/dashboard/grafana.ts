// Rows and panels as a Grafana dashboard.
import { ROWS } from './panels.ts';
import type { Panel, Query, Row } from './panels.ts';

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const COLUMNS = 24;
const SHAPES = {
  stat: { width: 4, height: 4 },
  timeseries: { width: 12, height: 8 },
  table: { width: 12, height: 8 },
} as const;

const optionsOf = ({ kind }: Panel): object => {
  if (kind === 'stat') return { reduceOptions: { calcs: ['lastNotNull'] }, graphMode: 'area', colorMode: 'none' };
  if (kind === 'table') return { showHeader: true };
  return { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } };
};

const drawingOf = ({ stacked }: Panel): object => ({
  fillOpacity: stacked === true ? 30 : 10,
  showPoints: 'never',
  stacking: { mode: stacked === true ? 'normal' : 'none' },
});

const targetOf =
  ({ kind }: Panel) =>
  ({ expr, legend }: Query, index: number): object => ({
    refId: String.fromCharCode('A'.charCodeAt(0) + index),
    datasource: DATASOURCE,
    expr,
    legendFormat: legend,
    ...(kind === 'table' ? { format: 'table', instant: true } : { range: true }),
  });

const panelOf = (panel: Panel, id: number, at: { x: number; y: number }): object => {
  const { title, description, kind, unit, queries } = panel;
  const { width, height } = SHAPES[kind];
  return {
    id,
    type: kind,
    title,
    description,
    datasource: DATASOURCE,
    gridPos: { ...at, w: width, h: height },
    fieldConfig: {
      defaults: { unit, min: 0, ...(kind === 'timeseries' && { custom: drawingOf(panel) }) },
      overrides: [],
    },
    options: optionsOf(panel),
    targets: queries.map(targetOf(panel)),
    ...(kind === 'table' && {
      transformations: [{ id: 'organize', options: { excludeByName: { Time: true, Value: true } } }],
    }),
  };
};

/** Rows one under the other, panels from left to right. */
function layout(rows: readonly Row[]): object[] {
  const placed: object[] = [];
  let y = 0;
  for (const { title, panels } of rows) {
    placed.push({
      id: placed.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: COLUMNS, h: 1 },
      panels: [],
    });
    y += 1;
    let x = 0;
    let lineHeight = 0;
    for (const panel of panels) {
      const { width, height } = SHAPES[panel.kind];
      if (x + width > COLUMNS) {
        x = 0;
        y += lineHeight;
      }
      placed.push(panelOf(panel, placed.length + 1, { x, y }));
      x += width;
      lineHeight = height;
    }
    y += lineHeight;
  }
  return placed;
}

const variable = (name: string, regex: string): object => ({
  name,
  label: name,
  type: 'query',
  datasource: DATASOURCE,
  query: { query: 'label_values(kubembed_router_endpoints, model)', refId: name },
  regex,
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: '.*',
  current: { text: ['All'], value: ['$__all'] },
});

export const dashboard = (): object => ({
  uid: 'kubembed',
  title: 'kubembed',
  description: 'Requests, models, runtimes and the operator of kubembed.',
  tags: ['kubembed', 'embeddings'],
  schemaVersion: 39,
  editable: true,
  graphTooltip: 1,
  refresh: '30s',
  time: { from: 'now-1h', to: 'now' },
  templating: {
    list: [
      { name: 'datasource', label: 'data source', type: 'datasource', query: 'prometheus' },
      variable('namespace', '/^([^\\/]+)\\/.+$/'),
      variable('model', '/^[^\\/]+\\/(.+)$/'),
    ],
  },
  panels: layout(ROWS),
});
