// `kubembed status`: how the models of a router or a cluster stand, once or again and again.
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError, isAborted, parse, UsageError } from '../command.ts';
import type { CliIo, Command, Parsed } from '../command.ts';
import { endpointFrom, ENDPOINT_OPTIONS, hintOf } from '../endpoint.ts';
import { openCluster } from '../status/from-cluster.ts';
import { viewOfRouter } from '../status/from-router.ts';
import { renderModel, renderTable } from '../status/render.ts';
import type { StatusView } from '../status/view.ts';
import { painter } from '../style.ts';

const OPTIONS = {
  ...ENDPOINT_OPTIONS,
  cluster: { type: 'boolean' },
  namespace: { type: 'string', short: 'n' },
  'all-namespaces': { type: 'boolean', short: 'A' },
  watch: { type: 'boolean', short: 'w' },
  interval: { type: 'string' },
  json: { type: 'boolean' },
} as const;

interface Source {
  readonly read: () => Promise<StatusView>;
  readonly close?: () => Promise<void>;
}

async function openSource({ text, flag }: Parsed, io: CliIo): Promise<Source> {
  if (!flag('cluster')) {
    if (flag('all-namespaces') || text('namespace') !== undefined) {
      throw new UsageError('Namespaces are of a cluster: add --cluster.');
    }
    const endpoint = endpointFrom(text, io.env);
    return { read: async () => await viewOfRouter(endpoint, io.signal) };
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
      io.writeError(`kubembed: ${error.message}\n`);
    }
    await sleep(seconds * 1000, undefined, { signal: io.signal }).catch(() => undefined);
  }
}

export const statusCommand: Command = {
  summary: 'Show how the models stand',
  usage: `kubembed status [MODEL …] [--watch] [--interval 2] [--json] [--endpoint URL] [--key KEY]
       kubembed status --cluster [MODEL …] [-n NAMESPACE | -A] [--watch] [--json]

Asks a router (http://127.0.0.1:11445 unless --endpoint, KUBEMBED_ENDPOINT or OPENAI_BASE_URL says otherwise),
or with --cluster the API server of the kubeconfig. A named MODEL is shown with its conditions.
With --watch it draws anew every interval; --watch --json prints a line each time.`,
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
      await source.close?.();
    }
    return 0;
  },
};
