// A status view as lines for a terminal. Pure.
import type { ModelState } from '../../api/conditions.ts';
import { printAge, printMs, printRate, table } from '../style.ts';
import type { Cell, Column, Paint, Style } from '../style.ts';
import type { ModelRow, StatusView } from './view.ts';

const STYLES: Readonly<Record<ModelState, Style>> = {
  ready: 'green',
  starting: 'yellow',
  asleep: 'dim',
  stopped: 'dim',
  failed: 'red',
  refused: 'red',
};

type Field = Column & { readonly cell: (row: ModelRow) => Cell };

const wanted = ({ ready, wanted: want }: ModelRow): string => (want === undefined ? `${ready}` : `${ready}/${want}`);
const plain = (text: string | undefined): Cell => ({ text: text ?? '-' });

/** A reason says all there is to say where things are well; elsewhere the sentence does. */
const explanation = ({ state, reason, message }: ModelRow): Cell => {
  const isFine = state === 'ready' || state === 'asleep' || state === 'stopped';
  return isFine ? { text: reason, style: 'dim' } : { text: `${reason}: ${message}`, style: STYLES[state] };
};

const MODEL: Field = { title: 'MODEL', cell: ({ model }) => ({ text: model }) };
const REPLICAS: Field = { title: 'REPLICAS', align: 'right', cell: (row) => plain(wanted(row)) };
const REASON: Field = { title: 'REASON', cell: explanation };
const STATE: Field = { title: 'STATE', cell: ({ state }) => ({ text: state, style: STYLES[state] }) };
const DEVICE: Field = { title: 'DEVICE', cell: ({ device }) => plain(device) };

const LOAD: readonly Field[] = [
  { title: 'REQ/S', align: 'right', cell: ({ load }) => plain(load && printRate(load.requestsPerSecond)) },
  { title: 'TOKENS/S', align: 'right', cell: ({ load }) => plain(load && printRate(load.tokensPerSecond)) },
  { title: 'P50', align: 'right', cell: ({ load }) => plain(printMs(load?.latencyMs?.p50)) },
  { title: 'P95', align: 'right', cell: ({ load }) => plain(printMs(load?.latencyMs?.p95)) },
];

const readyCondition = ({ conditions }: ModelRow): string =>
  conditions.find(({ type }) => type === 'Ready')?.status ?? 'Unknown';

const CLUSTER: readonly Field[] = [
  MODEL,
  DEVICE,
  { title: 'READY', cell: (row) => ({ text: readyCondition(row), style: STYLES[row.state] }) },
  REPLICAS,
  {
    title: 'AGE',
    align: 'right',
    cell: ({ ageSeconds }) => plain(ageSeconds === undefined ? undefined : printAge(ageSeconds)),
  },
  REASON,
];

const fieldsOf = ({ kind, models }: StatusView): readonly Field[] => {
  if (kind === 'cluster') return CLUSTER;
  const hasLoad = models.some(({ load }) => load !== undefined);
  return hasLoad ? [MODEL, STATE, REPLICAS, ...LOAD, REASON] : [MODEL, STATE, REPLICAS, REASON];
};

export interface RenderOptions {
  readonly paint: Paint;
  readonly width: number;
}

export function renderTable(view: StatusView, options: RenderOptions): string {
  if (view.models.length === 0) return `No models at ${view.source}.\n`;
  const fields = fieldsOf(view);
  return table(
    fields,
    view.models.map((row) => fields.map(({ cell }) => cell(row))),
    options,
  );
}

const CONDITION_COLUMNS = ['CONDITION', 'STATUS', 'REASON', 'MESSAGE'].map((title) => ({ title }));

/** One model with its conditions. */
export function renderModel(row: ModelRow, { paint, width }: RenderOptions): string {
  const { load } = row;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['resource', row.resource],
    ['device', row.device],
    ['state', `${paint(STYLES[row.state], row.state)}: ${row.message}`],
    ['replicas', `${wanted(row)} ready`],
    ['age', row.ageSeconds === undefined ? undefined : printAge(row.ageSeconds)],
    ['requests', load && `${printRate(load.requestsPerSecond)}/s, ${load.inFlight} running, ${load.held} waiting`],
    ['tokens', load && `${printRate(load.tokensPerSecond)}/s`],
    ['latency', load?.latencyMs && `p50 ${printMs(load.latencyMs.p50)}, p95 ${printMs(load.latencyMs.p95)}`],
  ];
  const lines = facts.flatMap(([name, text]) => (text === undefined ? [] : [`  ${name.padEnd(10)}${text}\n`]));
  const conditions = row.conditions.map(({ type, status, reason, message }): readonly Cell[] => [
    { text: type },
    { text: status, style: status === 'True' ? 'green' : 'yellow' },
    { text: reason },
    { text: message, style: 'dim' },
  ]);
  const below = conditions.length === 0 ? '' : `\n${table(CONDITION_COLUMNS, conditions, { paint, width })}`;
  return `${paint('bold', row.model)}\n${lines.join('')}${below}`;
}
