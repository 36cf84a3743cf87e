// `kubembed models`: the list of supported models as a file, what a model would take to serve, and the store they lie in.
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseCatalog } from '../../api/catalog.ts';
import type { EmbeddingModelSpec } from '../../api/types.ts';
import type { Environment } from '../../common/util/env.ts';
import { checkModel, dropDamaged, listModels } from '../../hub/verify.ts';
import type { FileCheck } from '../../hub/verify.ts';
import { declaredPooling, POOLING_CHOICES } from '../../runtime/model/modules.ts';
import { EngineStartError } from '../../runtime/engine/contract.ts';
import { defaultPrecision, precisionFault } from '../../runtime/model/precision.ts';
import { describeFiles } from '../../runtime/model/snapshot.ts';
import { isModelError } from '../../hub/files.ts';
import { assess, report } from '../assess.ts';
import type { Choices } from '../assess.ts';
import { CommandError, parse, sayCommand, UsageError } from '../command.ts';
import type { CliIo, Command, Group, Parsed } from '../command.ts';
import { withModel, withoutModel } from '../model-list.ts';
import { hubOptions, repositoryInStore, repositoryOnHub, storeFolder } from '../repository.ts';
import type { Repository } from '../repository.ts';
import { painter } from '../terminal.ts';
import { packCommand } from './pack.ts';
import type { Style } from '../terminal.ts';

// The list: read, and edited so that comments, order and options of other lines stay.

const FILE_OPTION = { file: { type: 'string', short: 'f' } } as const;

const listFile = (text: (option: string) => string | undefined, env: Environment): string =>
  text('file') ?? env['KUBEMBED_SUPPORTED_MODELS'] ?? 'supported_models.txt';

async function readList(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new CommandError(`${file} cannot be read; name the list with --file.`, undefined, { cause });
  }
}

const LIST_OPTIONS = { ...FILE_OPTION, json: { type: 'boolean' } } as const;

const listCommand: Command = {
  summary: 'List the supported models',
  usage: `kubembed models list [--file supported_models.txt] [--json]

Prints the ids; lines that are wrong go to standard error, and make the exit code 1.`,
  options: LIST_OPTIONS,
  async run(args, io) {
    const { text, flag } = parse(args, LIST_OPTIONS);
    const file = listFile(text, io.env);
    const { entries, faults } = parseCatalog(await readList(file));
    const ids = entries.map(({ spec }) => spec.model);
    io.write(flag('json') ? `${JSON.stringify(ids)}\n` : ids.map((id) => `${id}\n`).join(''));
    for (const { line, message } of faults) io.writeError(`${file}:${line}: ${message}\n`);
    return faults.length === 0 ? 0 : 1;
  },
};

type Edit = (list: string, words: readonly string[]) => string;

async function editList(args: readonly string[], io: CliIo, edit: Edit): Promise<number> {
  const { positionals, text, flag } = parse(args, LIST_OPTIONS);
  if (positionals.length === 0) throw new UsageError('Give a Hugging Face id.');
  const file = listFile(text, io.env);
  const before = await readList(file);
  const after = edit(before, positionals);
  const changed = after !== before;
  if (changed) await writeFile(file, after);
  const models = [...parseCatalog(after).models];
  if (flag('json')) io.write(`${JSON.stringify({ file, changed, models })}\n`);
  else io.writeError(`${changed ? 'Changed' : 'Nothing to change in'} ${file}: ${models.length} models.\n`);
  return 0;
}

const addCommand: Command = {
  summary: 'Add a model to the list',
  usage: `kubembed models add ID [OPTION=VALUE …] [--file supported_models.txt] [--json]

Appends a line, e.g. "BAAI/bge-small-en-v1.5 pooling=declared alias=text-embedding-3-small". Without pooling=, the repository is asked
(hub, else store), and pooling=declared is added where it declares another than the mean. A running local mode follows at once.`,
  options: LIST_OPTIONS,
  async run(args, io) {
    const parsed = parse(args, LIST_OPTIONS);
    const [modelId, ...options] = parsed.positionals;
    const silent = modelId !== undefined && !options.some((option) => option.startsWith('pooling='));
    const added = silent ? await declaredOption(modelId, parsed, io) : [];
    const wanted = options.length === 0 ? undefined : parsed.positionals.join(' ');
    return await editList(args, io, (list, words) => withModel(list, [...words, ...added].join(' '), wanted));
  },
};

const LOOK_MS = 10_000;

/** Said where silence would mean the mean and the repository declares something else. Who cannot be asked changes nothing. */
async function declaredOption(modelId: string, parsed: Parsed, io: CliIo): Promise<readonly string[]> {
  if (unsetPooling(io.env) === 'declared') return [];
  try {
    const signal = AbortSignal.any([io.signal, AbortSignal.timeout(LOOK_MS)]);
    const { json, tensors } = await findRepository(modelId, parsed, { ...io, signal });
    const said = declaredPooling(describeFiles(json, tensors ?? new Map()));
    if (said === undefined || said === 'mean') return [];
    io.writeError(`The repository of ${modelId} declares ${said} pooling: its line says pooling=declared.\n`);
    return ['pooling=declared'];
  } catch (error) {
    const refusal = asRefusal(error);
    if (io.signal.aborted || refusal === undefined) throw error;
    if (refusal.reason === 'RepositoryNotFound') {
      throw new CommandError(`${refusal.message} Nothing was added.`, refusal.reason, { cause: error });
    }
    io.writeError(
      `Which pooling ${modelId} declares is not known: ${refusal.message} See ${io.program} models check.\n`,
    );
    return [];
  }
}

const removeCommand: Command = {
  summary: 'Remove models from the list',
  usage: `kubembed models remove ID … [--file supported_models.txt] [--json]

Removes their lines. Everything else in the file stays as it is.`,
  options: LIST_OPTIONS,
  run: async (args, io) => await editList(args, io, (list, ids) => ids.reduce(withoutModel, list)),
};

// Can it be served? Answered without fetching its weights.

const DEVICES = ['cpu', 'gpu'] as const;
const PRECISIONS = ['float32', 'float16', 'int8'] as const;

const CHECK_OPTIONS = {
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
export async function findRepository(
  modelId: string,
  { text, flag }: Parsed,
  io: CliIo,
  line?: EmbeddingModelSpec,
): Promise<Repository> {
  const asked = { modelId, revision: text('revision') ?? line?.revision ?? 'main' };
  const hub = hubOptions(io.env);
  const store = storeFolder(text('store'), io.env);
  if (hub.offline || flag('offline')) {
    const stored = await repositoryInStore(store, asked);
    if (stored !== undefined) return stored;
    throw new CommandError(`${modelId} is not in the store ${store}, and the hub may not be asked.`, 'HubUnreachable');
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

/** What a line without `pooling` means, by the setting of the release. */
const unsetPooling = (env: Environment): 'mean' | 'declared' =>
  env['KUBEMBED_UNSET_POOLING'] === 'declared' ? 'declared' : 'mean';

/** What the command line leaves open is as the model's line has it. */
function choicesOf({ choice, count }: Parsed, env: Environment, line?: EmbeddingModelSpec): Choices {
  const { device: usual = 'cpu', precision } = line ?? {};
  const device = choice('device', DEVICES) ?? usual;
  const listed = device === usual ? precision : undefined;
  const wanted = choice('precision', PRECISIONS) ?? listed ?? defaultPrecision(device);
  const fault = precisionFault(device, wanted);
  if (fault !== undefined) throw new UsageError(fault);
  return {
    device,
    precision: wanted,
    pooling: choice('pooling', POOLING_CHOICES) ?? line?.pooling ?? unsetPooling(env),
    cpus: count('cpus', availableParallelism()),
  };
}

/** Why it cannot be served, with the reason that its condition would have. */
function asRefusal(error: unknown): { readonly reason: string; readonly message: string } | undefined {
  const isRefusal = isModelError(error) || error instanceof CommandError || error instanceof EngineStartError;
  return isRefusal ? { reason: error.reason ?? 'Unknown', message: error.message } : undefined;
}

async function check(modelId: string, parsed: Parsed, io: CliIo): Promise<boolean> {
  const isJson = parsed.flag('json');
  const paint = painter(io.output.colour);
  const file = listFile(parsed.text, io.env);
  const { entries, models } = parseCatalog(await readList(file).catch(() => ''));
  const line = entries.find(({ spec }) => spec.model === modelId)?.spec;
  const choices = choicesOf(parsed, io.env, line);
  try {
    const assessment = assess(await findRepository(modelId, parsed, io, line), choices);
    const listed = models.has(modelId);
    const answer = { servable: true, ...assessment, listed };
    io.write(
      isJson ? `${JSON.stringify(answer)}\n` : sayCommand(report(assessment, { file, listed }, paint), io.program),
    );
    return true;
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal === undefined) throw error;
    const { reason, message } = refusal;
    // Nobody could be asked: that says nothing of the model.
    const isKnown = reason !== 'HubUnreachable';
    const said = isKnown
      ? `${paint('red', '✘')} ${paint('bold', modelId)} cannot be served: ${paint('red', reason)}`
      : `${paint('yellow', '?')} ${paint('bold', modelId)}: not known whether it can be served: ${paint('yellow', reason)}`;
    const json = { servable: isKnown ? false : null, model: modelId, ...refusal };
    io.write(isJson ? `${JSON.stringify(json)}\n` : `${said}\n\n  ${message}\n`);
    return false;
  }
}

const checkCommand: Command = {
  summary: 'Tell whether a model can be served, and what it takes',
  usage: `kubembed models check ID … [--revision REV] [--device cpu|gpu] [--precision float32|float16|int8]
                      [--pooling mean|cls|lastToken|max|weightedMean|declared] [--cpus N] [--store DIR] [--offline]
                      [--file supported_models.txt] [--json]

Reads the repository's file list, its configuration and the headers of its weights, never the weights: from the hub
(HF_ENDPOINT, HF_TOKEN), else from the store. Options that are not given are those of the model's line in the list. Exit code 1 when
one of the models cannot be served, or nobody could be asked about it.`,
  options: CHECK_OPTIONS,
  choices: { device: DEVICES, precision: PRECISIONS, pooling: POOLING_CHOICES },
  async run(args, io) {
    const parsed = parse(args, CHECK_OPTIONS);
    if (parsed.positionals.length === 0) throw new UsageError('models check: give a Hugging Face id.');
    let servable = true;
    for (const [at, modelId] of parsed.positionals.entries()) {
      if (at > 0 && !parsed.flag('json')) io.write('\n');
      servable = (await check(modelId, parsed, io)) && servable;
    }
    return servable ? 0 : 1;
  },
};

// Is what lies in the store what the hub gave?

const VERIFY_OPTIONS = {
  store: { type: 'string' },
  repair: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

const STATE_STYLES: Readonly<Record<FileCheck['state'], Style>> = {
  intact: 'green',
  unproven: 'yellow',
  damaged: 'red',
  missing: 'red',
};

const isBad = ({ state }: FileCheck): boolean => state === 'damaged' || state === 'missing';

const verifyCommand: Command = {
  summary: 'Check the models on disk against their hashes',
  usage: `kubembed models verify [ID …] [--store DIR] [--repair] [--json]

Reads every file of the store (all models, unless named) and compares it with the hash that the hub gave.
With --repair damaged files are deleted, so that the next fetch downloads them again.
Exit code 1 when something is damaged or missing.`,
  options: VERIFY_OPTIONS,
  async run(args, io) {
    const { positionals, text, flag } = parse(args, VERIFY_OPTIONS);
    const store = storeFolder(text('store'), io.env);
    const paint = painter(io.output.colour);
    const show = (checked: FileCheck): string =>
      flag('json')
        ? JSON.stringify(checked)
        : `${paint(STATE_STYLES[checked.state], checked.state.padEnd(8))} ${checked.modelId}@${checked.revision.slice(0, 8)} ${checked.name}`;
    let seen = 0;
    let bad = 0;
    for (const modelId of positionals.length > 0 ? positionals : await listModels(store)) {
      for await (const checked of checkModel(store, modelId)) {
        io.signal.throwIfAborted();
        seen += 1;
        bad += isBad(checked) ? 1 : 0;
        io.write(`${show(checked)}\n`);
        if (flag('repair')) await dropDamaged(checked);
      }
    }
    if (seen === 0) {
      io.writeError(`Nothing of ${positionals.join(', ') || 'any model'} is in ${store}.\n`);
      return positionals.length > 0 ? 1 : 0;
    }
    const next = flag('repair') ? 'Deleted; the next fetch downloads them again.' : 'Run again with --repair.';
    if (bad > 0) io.writeError(`${bad} of the files in ${store} are damaged or missing. ${next}\n`);
    return bad > 0 ? 1 : 0;
  },
};

export const modelsGroup: Group = {
  summary: 'List, edit, check, verify and pack models',
  commands: {
    list: listCommand,
    add: addCommand,
    remove: removeCommand,
    check: checkCommand,
    verify: verifyCommand,
    pack: packCommand,
  },
  preset: 'list',
};
