// Command lines → what is measured, and for how long; refused by the name of the option. Pure.
import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { MODEL_NAMES, PEER_NAMES } from './gpu/names.ts';
import { CELLS, cellName, QUICK_CELLS } from './runtime/cells.ts';
import type { Cell, JudgedCell } from './runtime/cells.ts';
import { CORPUS_NAMES } from './runtime/corpora.ts';

type Values = Readonly<Record<string, string | boolean | undefined | readonly (string | boolean)[]>>;

interface Wanted {
  /** Where the option is not given. */
  readonly otherwise: number;
  readonly atLeast: number;
  readonly whole?: boolean;
}

/** @param values as `parseArgs` reads them, strings */
export function numberOf(values: Values, option: string, { otherwise, atLeast, whole = false }: Wanted): number {
  const given = values[option];
  if (given === undefined) return otherwise;
  const read = Number(given);
  if (given !== '' && Number.isFinite(read) && read >= atLeast && (!whole || Number.isInteger(read))) return read;
  throw new RangeError(`--${option}: ${String(given)} is not a ${whole ? 'whole ' : ''}number from ${atLeast}`);
}

/** Another checkout of kubembed, installed, which is measured in turn with this one. */
export interface Checkout {
  readonly name: string;
  readonly path: string;
}

const checkoutsOf = (given: readonly string[] = []): readonly Checkout[] =>
  given.map((one) => {
    const [, name, path] = /^([a-z][\w-]*)=(.+)$/.exec(one) ?? [];
    if (name === undefined || path === undefined) throw new RangeError(`--peer: ${one} is not NAME=PATH`);
    return { name, path };
  });

const names = (list: string): string[] => list.split(',').filter((name) => name !== '');

const read = <T extends NonNullable<ParseArgsConfig['options']>>(args: readonly string[], options: T) =>
  parseArgs({ args: [...args], allowNegative: true, options: { write: { type: 'boolean' }, ...options } }).values;

const TEXT = { type: 'string' } as const;
const PEER = { type: 'string', multiple: true } as const;

// The runtime bench.

export interface Timing {
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly repeats: number;
  /** How often a window disturbed by other load is measured again. */
  readonly retries: number;
}

const WINDOWS = { seconds: TEXT, 'warm-up': TEXT, repeats: TEXT, retries: TEXT, threads: TEXT } as const;

const timingOf = (values: Values, preset: Timing): Timing => ({
  warmUpSeconds: numberOf(values, 'warm-up', { otherwise: preset.warmUpSeconds, atLeast: 0 }),
  seconds: numberOf(values, 'seconds', { otherwise: preset.seconds, atLeast: 0.1 }),
  repeats: numberOf(values, 'repeats', { otherwise: preset.repeats, atLeast: 1, whole: true }),
  retries: numberOf(values, 'retries', { otherwise: preset.retries, atLeast: 0, whole: true }),
});

/** Cores to use; undefined: all. */
function threadsOf(values: Values): number | undefined {
  const threads = numberOf(values, 'threads', { otherwise: 0, atLeast: 1, whole: true });
  return threads > 0 ? threads : undefined;
}

export type RuntimeOptions = ReturnType<typeof readRuntimeOptions>;

const QUICK: Timing = { warmUpSeconds: 0.7, seconds: 2, repeats: 1, retries: 0 };
const FULL: Timing = { warmUpSeconds: 1.5, seconds: 8, repeats: 3, retries: 2 };

function cellOf(name: string): JudgedCell {
  const cell = CELLS.find((candidate) => cellName(candidate) === name);
  if (cell === undefined) throw new RangeError(`no cell ${name}; there are ${CELLS.map(cellName).join(', ')}`);
  return cell;
}

export function readRuntimeOptions(args: readonly string[]) {
  const values = read(args, {
    ...{ peers: TEXT, cells: TEXT, python: TEXT, quick: { type: 'boolean', default: false } },
    ...{ peer: PEER, tei: TEXT },
    ...WINDOWS,
  });
  const preset = values.quick ? QUICK : FULL;
  const chosen = values.cells === undefined ? (values.quick ? QUICK_CELLS : undefined) : names(values.cells);
  return {
    cells: chosen?.map(cellOf) ?? CELLS,
    /** Undefined: whoever can run here. */
    peers: values.peers === undefined ? undefined : names(values.peers),
    checkouts: checkoutsOf(values.peer),
    /** The executable of Text Embeddings Inference, which is then a peer. */
    tei: values.tei,
    timing: timingOf(values, preset),
    starts: values.quick ? 1 : 3,
    quick: values.quick,
    /** Whether the tables go into docs/performance.md. */
    write: values.write ?? [chosen, values.peers, values.peer].every((part) => part === undefined),
    threads: threadsOf(values),
    /** The interpreter of the Python peers; undefined: that of the bench's own environment. */
    python: values.python,
  };
}

// The families bench.

export type FamiliesOptions = ReturnType<typeof readFamiliesOptions>;

const FAMILY_TIMING: Timing = { warmUpSeconds: 1, seconds: 4, repeats: 3, retries: 1 };
/** Sentences and passages, one client and several. */
const FAMILY_CELLS: readonly string[] = ['A:1', 'A:8', 'B:1', 'B:8'];
/** And the usual mixture, which few texts of a run have one length in. */
const INT8_CELLS: readonly string[] = [...FAMILY_CELLS, 'C:8'];

/** @param int8 whether it is int8 beside float32 that is measured, instead of each family beside bare sessions */
export function readFamiliesOptions(args: readonly string[], int8 = false) {
  const { families, cells, peer, ...values } = read(args, { families: TEXT, cells: TEXT, peer: PEER, ...WINDOWS });
  return {
    int8,
    families: families === undefined ? undefined : names(families),
    cells: (cells === undefined ? (int8 ? INT8_CELLS : FAMILY_CELLS) : names(cells)).map(cellOf),
    checkouts: checkoutsOf(peer),
    timing: timingOf(values, FAMILY_TIMING),
    write: values.write ?? [families, cells, peer].every((part) => part === undefined),
    threads: threadsOf(values),
  };
}

// The GPU bench.

export type GpuOptions = ReturnType<typeof readGpuOptions>;

/** Sentences, passages, 2,048 texts in one request, and the longest texts. */
const GPU_CELLS: readonly string[] = ['A:1', 'A:8', 'A:64', 'B:1', 'B:8', 'B:64', 'D:1', 'L:1', 'L:8'];
const GPU_QUICK_CELLS: readonly string[] = ['A:1', 'A:64', 'B:64', 'L:1'];
const GPU_TIMING: Timing = { warmUpSeconds: 1, seconds: 4, repeats: 3, retries: 0 };
const GPU_QUICK: Timing = { warmUpSeconds: 1, seconds: 2, repeats: 1, retries: 0 };

const oneOf = <T extends string>(known: readonly T[], what: string, given: string | undefined): readonly T[] =>
  (given === undefined ? known : names(given)).map((name) => {
    const found = known.find((one) => one === name);
    if (found === undefined) throw new RangeError(`no ${what} ${name}; there are ${known.join(', ')}`);
    return found;
  });

function gpuCell(name: string): Cell {
  const [corpus = '', clients] = name.split(':');
  const known = CORPUS_NAMES.find((one) => one === corpus);
  if (known === undefined) throw new RangeError(`no corpus ${corpus}; there are ${CORPUS_NAMES.join(', ')}`);
  return {
    corpus: known,
    concurrency: numberOf({ cells: clients }, 'cells', { otherwise: 1, atLeast: 1, whole: true }),
  };
}

export function readGpuOptions(args: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const { models, peers, cells, python, vllm, quick, ...values } = read(args, {
    ...{ models: TEXT, peers: TEXT, cells: TEXT, python: TEXT, vllm: TEXT, quick: flag, 'stand-in': flag },
    ...WINDOWS,
  });
  const standIn = values['stand-in'];
  if (standIn && values.write === true)
    throw new RangeError('--stand-in measures no GPU: it cannot be written with --write');
  const whole = [peers, cells, vllm].every((part) => part === undefined) && !quick && !standIn;
  return {
    models: oneOf(MODEL_NAMES, 'model', models),
    peers: oneOf(PEER_NAMES, 'peer', peers),
    cells: (cells === undefined ? (quick ? GPU_QUICK_CELLS : GPU_CELLS) : names(cells)).map(gpuCell),
    /** Whether the CPU computes instead, with small models, to try the command where there is no GPU. */
    standIn,
    timing: timingOf(values, quick ? GPU_QUICK : GPU_TIMING),
    quick,
    write: values.write ?? whole,
    threads: threadsOf(values),
    /** The interpreter that has sentence-transformers; undefined: that of the bench's own environment. */
    python,
    /** vLLM's executable; undefined: that of its own environment. */
    vllm,
  };
}

// The bulk bench.

export type BulkOptions = ReturnType<typeof readBulkOptions>;

export function readBulkOptions(args: readonly string[]) {
  const values = read(args, { seconds: TEXT, rounds: TEXT, tokens: TEXT, threads: TEXT });
  const { seconds, rounds, tokens } = values;
  return {
    /** Of a window of the bench. */
    seconds: numberOf(values, 'seconds', { otherwise: 12, atLeast: 0.1 }),
    rounds: numberOf(values, 'rounds', { otherwise: 3, atLeast: 1, whole: true }),
    /** Of a job. */
    tokens: numberOf(values, 'tokens', { otherwise: 200_000, atLeast: 10_000, whole: true }),
    threads: threadsOf(values),
    write: values.write ?? [seconds, rounds, tokens].every((part) => part === undefined),
  };
}

// The router bench.

export const PARTS = ['compare', 'split', 'refusals', 'memory'] as const;
export type Part = (typeof PARTS)[number];

export type RouterOptions = ReturnType<typeof readRouterOptions>;

function partOf(name: string): Part {
  const part = PARTS.find((one) => one === name);
  if (part === undefined) throw new RangeError(`there is no part ${name}, only ${PARTS.join(', ')}`);
  return part;
}

export function readRouterOptions(args: readonly string[]) {
  const { nginx = 'nginx', ...values } = read(args, {
    ...{ parts: TEXT, seconds: TEXT, rounds: TEXT, minutes: TEXT, nginx: TEXT, peer: PEER },
  });
  const { parts, seconds, rounds, minutes, peer } = values;
  return {
    parts: parts === undefined ? [...PARTS] : names(parts).map(partOf),
    checkouts: checkoutsOf(peer),
    /** Of one window. */
    seconds: numberOf(values, 'seconds', { otherwise: 2, atLeast: 0.1 }),
    rounds: numberOf(values, 'rounds', { otherwise: 5, atLeast: 1, whole: true }),
    /** How long memory is watched. */
    minutes: numberOf(values, 'minutes', { otherwise: 10, atLeast: 0.1 }),
    nginx,
    write: values.write ?? [parts, seconds, rounds, minutes, peer].every((part) => part === undefined),
  };
}

// The front bench.

export type FrontOptions = ReturnType<typeof readFrontOptions>;

export function readFrontOptions(args: readonly string[]) {
  const values = read(args, { fronts: TEXT, seconds: TEXT, rounds: TEXT, connections: TEXT, depth: TEXT });
  const { fronts, seconds, rounds, connections, depth } = values;
  const counted = (option: 'rounds' | 'connections' | 'depth', otherwise: number): number =>
    numberOf(values, option, { otherwise, atLeast: 1, whole: true });
  return {
    /** How many front threads; what is measured is compared with the first. */
    fronts: names(fronts ?? '1,2').map((one) =>
      numberOf({ fronts: one }, 'fronts', { otherwise: 1, atLeast: 1, whole: true }),
    ),
    /** Of one window. */
    seconds: numberOf(values, 'seconds', { otherwise: 4, atLeast: 0.1 }),
    rounds: counted('rounds', 5),
    connections: counted('connections', 64),
    /** Requests under way on each connection. */
    depth: counted('depth', 2),
    write: values.write ?? [fronts, seconds, rounds, connections, depth].every((part) => part === undefined),
  };
}

// The scale bench.

export type ScaleOptions = ReturnType<typeof readScaleOptions>;

const FULL_SCALE = { models: 10_000, awake: 10, replicas: 50, applies: 100, 'idle-seconds': 60 } as const;

export function readScaleOptions(args: readonly string[]) {
  const values = read(args, { models: TEXT, awake: TEXT, replicas: TEXT, applies: TEXT, 'idle-seconds': TEXT });
  const whole = (option: keyof typeof FULL_SCALE): number =>
    numberOf(values, option, { otherwise: FULL_SCALE[option], atLeast: 1, whole: true });
  return {
    models: whole('models'),
    /** Of a hundred models so many have replicas; the others sleep, and were never woken. */
    awakePercent: Math.min(100, whole('awake')),
    /** Of each that is awake. */
    replicas: whole('replicas'),
    /** How many single applies of each kind are timed. */
    applies: whole('applies'),
    idleSeconds: whole('idle-seconds'),
    write:
      values.write ??
      Object.entries(FULL_SCALE).every(([name, full]) => whole(name as keyof typeof FULL_SCALE) === full),
  };
}

// The cold-start bench.

export type ColdStartOptions = ReturnType<typeof readColdStartOptions>;

export function readColdStartOptions(args: readonly string[]) {
  const { model, namespace = 'kubembed', wakes, ...values } = read(args, { model: TEXT, namespace: TEXT, wakes: TEXT });
  if (model !== undefined && !/^[^/]+\/[^/]+$/.test(model))
    throw new RangeError(`--model: ${model} is not NAMESPACE/NAME`);
  return {
    /** An EmbeddingModel on the cluster that KUBECONFIG names; undefined: those that the bench makes on the test cluster. */
    model,
    /** Of the release. */
    namespace,
    wakes: numberOf({ wakes }, 'wakes', { otherwise: 20, atLeast: 1, whole: true }),
    write: values.write ?? [model, wakes].every((part) => part === undefined),
  };
}

export const USAGE = `usage: npm run bench -- runtime|limit|families|int8|bulk|router|front|scale|cold-start|gpu|setup [options]

runtime   --peers kubembed,limit,…   whom to measure; default: whoever is installed (see: npm run bench -- setup)
          --peer NAME=PATH           another checkout of kubembed, installed, in turn with this one; may be given again
          --tei FILE                 text-embeddings-router of Text Embeddings Inference, as one more peer
          --cells A:1,C:64,…         corpus:concurrency; default: all
          --seconds S --warm-up S --repeats N --retries N   each window; default 8, 1.5, 3, 2
          --threads N --python FILE  cores to use; interpreter of the Python peers
          --quick                    about two minutes: few cells, windows of 2 s, no repeats, no tables written
limit     the limit line alone
families  --families t5,qwen3,…      which; default: all
          --cells, --peer, --seconds, --warm-up, --repeats, --retries, --threads   as above; default A and B, 1 and 8 clients
int8      int8 beside float32: --families e5,base; C:8 as well; all else as families
bulk      --seconds S --rounds N --tokens N --threads N   a window of the bench; a whole job; default 12, 3, 200,000
gpu       on a machine with an NVIDIA GPU: --models minilm,bge-m3,qwen3,gemma --peers st,vllm --cells A:1,L:8,…
          --python FILE --vllm FILE  interpreter with sentence-transformers; vLLM's executable
          --seconds, --warm-up, --repeats, --threads, --quick   as above; about forty minutes, --quick ten
          --stand-in                 the CPU instead, with small models: tries the command, measures no GPU
setup     the Python peers' environment; setup vllm: that of vLLM, many gigabytes
router    --parts ${PARTS.join(',')} --peer NAME=PATH --nginx FILE
          --seconds S --rounds N --minutes N   each window; of --parts memory
front     --fronts 1,2 --seconds S --rounds N --connections N --depth N   how many threads; each window; the load
scale     --models N --awake PERCENT --replicas N --applies N --idle-seconds N
cold-start --wakes N                 on the test cluster, which it brings up; or with --model NAMESPACE/NAME that sleeps
          --namespace NAMESPACE      on the cluster of KUBECONFIG, whose release is in this namespace; default kubembed
all       --write, --no-write        whether docs/performance.md (gpu: docs/gpu.md) gets the tables; default: after a whole run`;
