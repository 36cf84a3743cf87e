// `kubembed models check`: can this model be served, and what does it take? Answered without fetching its weights.
import { availableParallelism } from 'node:os';
import { parseCatalog } from '../../api/catalog.ts';
import { isModelError } from '../../hub/errors.ts';
import { GraphError } from '../../runtime/graph/errors.ts';
import { CommandError, parse, UsageError } from '../command.ts';
import type { CliIo, Command, Parsed } from '../command.ts';
import { hubOptions, storeFolder } from '../models/environment.ts';
import { repositoryOnHub } from '../models/from-hub.ts';
import { repositoryInStore } from '../models/from-store.ts';
import { judge } from '../models/judge.ts';
import type { Wish } from '../models/judge.ts';
import { FILE_OPTION, listFile, readList } from '../models/list-file.ts';
import { report } from '../models/report.ts';
import type { Repository } from '../models/repository.ts';
import { painter } from '../style.ts';

const DEVICES = ['cpu', 'gpu'] as const;
const PRECISIONS = ['float32', 'float16', 'int8'] as const;
const POOLINGS = ['mean', 'cls'] as const;

const OPTIONS = {
  ...FILE_OPTION,
  revision: { type: 'string' },
  device: { type: 'string' },
  precision: { type: 'string' },
  pooling: { type: 'string' },
  cpus: { type: 'string' },
  store: { type: 'string' },
  offline: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

/** The hub knows best what would be fetched; the store serves where there is none. */
async function findRepository(modelId: string, { text, flag }: Parsed, io: CliIo): Promise<Repository> {
  const asked = { modelId, revision: text('revision') ?? 'main' };
  const hub = hubOptions(io.env);
  const store = storeFolder(text('store'), io.env);
  if (hub.offline || flag('offline')) {
    const stored = await repositoryInStore(store, asked);
    if (stored !== undefined) return stored;
    throw new CommandError(
      `${modelId} is not in the store ${store}, and the hub is not to be asked.`,
      'HubUnreachable',
    );
  }
  try {
    return await repositoryOnHub(asked, hub, io.signal);
  } catch (error) {
    if (!isModelError(error, 'HubUnreachable')) throw error;
    const stored = await repositoryInStore(store, asked);
    if (stored === undefined) throw error;
    return stored;
  }
}

function wishOf({ choice, count }: Parsed): Wish {
  const device = choice('device', DEVICES) ?? 'cpu';
  return {
    device,
    precision: choice('precision', PRECISIONS) ?? (device === 'gpu' ? 'float16' : 'float32'),
    pooling: choice('pooling', POOLINGS) ?? 'mean',
    cpus: count('cpus', availableParallelism()),
  };
}

/** Why it cannot be served, with the reason that its condition would have. */
function asRefusal(error: unknown): { readonly reason: string; readonly message: string } | undefined {
  if (isModelError(error) || error instanceof CommandError) {
    return { reason: error.reason ?? 'Unknown', message: error.message };
  }
  return error instanceof GraphError ? { reason: error.code, message: error.message } : undefined;
}

async function check(modelId: string, parsed: Parsed, io: CliIo): Promise<boolean> {
  const isJson = parsed.flag('json');
  const paint = painter(io.output.colour);
  const wish = wishOf(parsed);
  const file = listFile(parsed.text, io.env);
  try {
    const verdict = judge(await findRepository(modelId, parsed, io), wish);
    const listed = parseCatalog(await readList(file).catch(() => '')).models.has(modelId);
    const answer = { servable: true, ...verdict, listed };
    io.write(isJson ? `${JSON.stringify(answer)}\n` : report(verdict, { file, listed }, paint));
    return true;
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal === undefined) throw error;
    io.write(
      isJson
        ? `${JSON.stringify({ servable: false, model: modelId, ...refusal })}\n`
        : `${paint('red', '✘')} ${paint('bold', modelId)} cannot be served: ${paint('red', refusal.reason)}\n\n  ${refusal.message}\n`,
    );
    return false;
  }
}

export const checkCommand: Command = {
  summary: 'Tell whether a model can be served, and what it takes',
  usage: `kubembed models check ID … [--revision REV] [--device cpu|gpu] [--precision float32|float16|int8]
                      [--pooling mean|cls] [--cpus N] [--store DIR] [--offline]
                      [--file supported_models.txt] [--json]

Reads the repository's file list, its configuration and the headers of its weights, never the weights: from the hub
(HF_ENDPOINT, HF_TOKEN), else from the store. Exit code 1 when one of the models cannot be served.`,
  options: OPTIONS,
  choices: { device: DEVICES, precision: PRECISIONS, pooling: POOLINGS },
  async run(args, io) {
    const parsed = parse(args, OPTIONS);
    if (parsed.positionals.length === 0) throw new UsageError('models check: give a Hugging Face id.');
    let servable = true;
    for (const [at, modelId] of parsed.positionals.entries()) {
      if (at > 0 && !parsed.flag('json')) io.write('\n');
      servable = (await check(modelId, parsed, io)) && servable;
    }
    return servable ? 0 : 1;
  },
};
