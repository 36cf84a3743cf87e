// `kubembed status`: how the models of a router or a cluster stand, as a table, one model with its conditions, or again and again.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ModelState } from '../../api/conditions.ts';
import { CommandError, isAborted, parse, sayCommand, UsageError } from '../command.ts';
import type { CliIo, Command, Parsed } from '../command.ts';
import { endpointFrom, ENDPOINT_OPTIONS, hintOf } from '../endpoint.ts';
import { openCluster, viewOfRouter } from '../status-view.ts';
import type { ModelRow, StatusSource, StatusView } from '../status-view.ts';
import { painter, printAge, printMs, printRate, table } from '../terminal.ts';
import type { Cell, Column, Paint, Style } from '../terminal.ts';

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
const explanation = ({ state, reason, message, pooling }: ModelRow): Cell => {
  const isFine = state === 'ready' || state === 'asleep' || state === 'stopped';
  if (isFine && pooling !== undefined) return { text: `${reason}, pooling ${pooling}`, style: 'yellow' };
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
    ['pooling', row.pooling && paint('yellow', row.pooling)],
    ['replicas', `${wanted(row)} ready`],
    ['age', row.ageSeconds === undefined ? undefined : printAge(row.ageSeconds)],
    ['requests', load && `${printRate(load.requestsPerSecond)}/s, ${load.inFlight} running, ${load.queued} waiting`],
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

const OPTIONS = {
  ...ENDPOINT_OPTIONS,
  cluster: { type: 'boolean' },
  namespace: { type: 'string', short: 'n' },
  'all-namespaces': { type: 'boolean', short: 'A' },
  watch: { type: 'boolean', short: 'w' },
  interval: { type: 'string' },
  json: { type: 'boolean' },
} as const;

async function openSource({ text, flag }: Parsed, io: CliIo): Promise<StatusSource> {
  if (!flag('cluster')) {
    if (flag('all-namespaces') || text('namespace') !== undefined) {
      throw new UsageError('--namespace and --all-namespaces are options of a cluster: add --cluster.');
    }
    const endpoint = endpointFrom(text, io.env);
    return { read: async () => await viewOfRouter(endpoint, io.signal), close: () => Promise.resolve() };
  }
  if (text('endpoint') !== undefined) throw new UsageError('Give --endpoint or --cluster, not both.');
  return await openCluster(io, (own) => (flag('all-namespaces') ? undefined : (text('namespace') ?? own)));
}

/** Only the models that were named, by id or by resource. */
function narrow(view: StatusView, names: readonly string[]): StatusView {
  if (names.length === 0) return view;
  const isNamed = (name: string, { model, resource }: StatusView['models'][number]): boolean =>
    name === model || name === resource || name === resource?.split('/')[1];
  for (const name of names) {
    if (view.models.some((row) => isNamed(name, row))) continue;
    const known = view.models.map(({ model }) => model);
    throw new CommandError(`${view.source} has no model "${name}".${hintOf(name, known)}`);
  }
  return { ...view, models: view.models.filter((row) => names.some((name) => isNamed(name, row))) };
}

function print(view: StatusView, named: boolean, io: CliIo): string {
  const options = { paint: painter(io.output.colour), width: io.output.columns() };
  return named ? view.models.map((row) => renderModel(row, options)).join('\n') : renderTable(view, options);
}

const HOME = '\u001B[H';
const CLEAR_LINE_END = '\u001B[K';
const CLEAR_BELOW = '\u001B[J';
const CLEAR = '\u001B[2J';

/** Over what was there before, without a flicker. */
const overdraw = (text: string): string => HOME + text.replaceAll('\n', `${CLEAR_LINE_END}\n`) + CLEAR_BELOW;

async function watch(show: () => Promise<string>, seconds: number, io: CliIo): Promise<void> {
  if (io.output.isTerminal) io.write(CLEAR);
  while (!isAborted(io)) {
    try {
      const text = await show();
      io.write(io.output.isTerminal ? overdraw(text) : text);
    } catch (error) {
      // A router that restarts comes back; a wrong name does not appear by waiting either, but says so each time.
      if (isAborted(io)) return;
      if (!(error instanceof CommandError)) throw error;
      io.writeError(`kubembed: ${sayCommand(error.message, io.program)}\n`);
    }
    await sleep(seconds * 1000, undefined, { signal: io.signal }).catch(() => undefined);
  }
}

export const statusCommand: Command = {
  summary: 'Show the state of the models',
  usage: `kubembed status [MODEL …] [--watch] [--interval 2] [--json] [--endpoint URL] [--key KEY]
       kubembed status --cluster [MODEL …] [-n NAMESPACE | -A] [--watch] [--json]

Asks a router (http://127.0.0.1:11445 unless --endpoint, KUBEMBED_ENDPOINT or OPENAI_BASE_URL says otherwise),
or with --cluster the API server of the kubeconfig. A named MODEL is shown with its conditions.
With --watch it asks again every interval; --watch --json prints a line each time.`,
  options: OPTIONS,
  async run(args, io) {
    const parsed = parse(args, OPTIONS);
    const { positionals, flag, count } = parsed;
    const seconds = count('interval', 2);
    const source = await openSource(parsed, io);
    const show = async (): Promise<string> => {
      const view = narrow(await source.read(), positionals);
      return flag('json') ? `${JSON.stringify(view)}\n` : print(view, positionals.length > 0, io);
    };
    try {
      if (flag('watch')) await watch(show, seconds, io);
      else io.write(await show());
    } finally {
      await source.close();
    }
    return 0;
  },
};
