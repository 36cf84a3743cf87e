// What a bulk job takes: hours, pods and money for so many documents, from what was measured and a formula that anyone can check. Pure.
//
//   tokens   = documents × tokens of each
//   seconds  = tokens ÷ (tokens/s of a unit × units of a pod × pods × efficiency)      unit: a core, or a GPU
//   money    = seconds ÷ 3600 × pods × units of a pod × price of a unit an hour
//
// Tokens/s of a core is measured (docs/performance.md) for one model. For another it follows from the work that a token is:
//   work     = 2 × parameters in matrices + 4 × layers × hidden size × tokens of a document      (floating-point operations)
//   tokens/s = what a core did a second for the measured model ÷ work
import { isRecord } from '../common/util/text.ts';
import type { TensorIndex } from '../runtime/graph/weights.ts';

/** docs/performance.md and docs/gpu.md as numbers: `cli/measured.json`. */
export interface Measured {
  readonly model: string;
  readonly tokensPerText: number;
  readonly shape: Shape;
  readonly cores: number;
  /** With those cores. */
  readonly cpu: { readonly float32: number; readonly int8: number };
  /** On one card. */
  readonly gpu: { readonly card: string; readonly float16: number };
}

/** What decides the work for a token. */
export interface Shape {
  /** In matrices that every token is multiplied by: without embeddings, of which it takes one row. */
  readonly parameters: number;
  readonly layers: number;
  readonly hiddenSize: number;
}

const EMBEDDINGS = /embed|(^|\.)(wte|wpe|shared|relative_attention_bias)\.|pooler|lm_head|(^|\.)cls\./i;

export function shapeOf(tensors: TensorIndex, config: unknown): Shape {
  const matrices = [...tensors].filter(([name, { shape }]) => shape.length >= 2 && !EMBEDDINGS.test(name));
  const parameters = matrices.reduce(
    (sum, [, { shape }]) => sum + shape.reduce((product, size) => product * size, 1),
    0,
  );
  const numberIn = (...names: readonly string[]): number => {
    const found = isRecord(config) ? names.map((name) => config[name]).find((value) => typeof value === 'number') : 0;
    return typeof found === 'number' ? found : 0;
  };
  return {
    parameters,
    layers: numberIn('num_hidden_layers', 'n_layers', 'n_layer', 'num_layers'),
    hiddenSize: numberIn('hidden_size', 'dim', 'n_embd', 'd_model'),
  };
}

/** Floating-point operations for a token among so many. */
export const workOf = ({ parameters, layers, hiddenSize }: Shape, tokens: number): number =>
  2 * parameters + 4 * layers * hiddenSize * tokens;

export interface Rate {
  /** Of a core, or a GPU. */
  readonly tokensPerSecond: number;
  readonly source: string;
}

/** What a core does with another model, by what it did with the measured one. */
export function rateOf(measured: Measured, precision: 'float32' | 'int8', shape: Shape, tokens: number): Rate {
  const perCore = measured.cpu[precision] / measured.cores;
  const operations = perCore * workOf(measured.shape, measured.tokensPerText);
  const work = workOf(shape, tokens);
  return {
    tokensPerSecond: operations / work,
    source: `${(operations / 1e9).toFixed(0)} GFLOP/s of a core, as measured with ${measured.model} (${precision}), ÷ ${(work / 1e6).toFixed(0)} MFLOP a token`,
  };
}

export interface Job {
  readonly documents: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly unitsPerPod: number;
  readonly pods: number;
  /** Share of what was measured that a whole job reaches. */
  readonly efficiency: number;
  /** Of a unit, an hour. */
  readonly price: number;
}

export interface Estimate {
  readonly pods: number;
  readonly hours: number;
  readonly unitHours: number;
  readonly money: number;
}

export function estimate(job: Job): Estimate {
  const { documents, tokens, tokensPerSecond, unitsPerPod, pods, efficiency, price } = job;
  const hours = (documents * tokens) / (tokensPerSecond * unitsPerPod * pods * efficiency) / 3600;
  const unitHours = hours * pods * unitsPerPod;
  return { pods, hours, unitHours, money: unitHours * price };
}

/** The fewest that are done in time. */
export const podsFor = (job: Omit<Job, 'pods'>, hours: number): number =>
  Math.max(1, Math.ceil(estimate({ ...job, pods: 1 }).hours / hours - 1e-9));
