// What a run costs, in tokens' worth of work: decides between equal lengths and packing.
import type { CostModel } from './types.ts';

/** A run of some texts: how many, how many tokens, and the longest. */
export interface RunShape {
  readonly texts: number;
  readonly tokens: number;
  readonly longest: number;
}

export const groupedCost = (model: CostModel, { texts, tokens, longest }: RunShape): number =>
  tokens + model.perCell * texts * longest * longest + model.perRun;

export const packedCost = (model: CostModel, { texts, tokens, longest }: RunShape): number =>
  model.perPackedToken * tokens + model.perPackedCell * texts * longest * longest + model.perRun;

export const withText = (shape: RunShape, length: number): RunShape => ({
  texts: shape.texts + 1,
  tokens: shape.tokens + length,
  longest: Math.max(shape.longest, length),
});

/**
 * Whether a text is cheaper in the pack than it would be elsewhere. Elsewhere it would share a run as well, hence half of
 * a run's fixed cost.
 */
export function worthPacking(model: CostModel, shape: RunShape, length: number): boolean {
  const added = packedCost(model, withText(shape, length)) - packedCost(model, shape);
  return added <= length + model.perCell * length * length + model.perRun / 2;
}

/**
 * Measured for all-MiniLM-L6-v2 (hidden size 384) on AVX2; attention's part falls as the linear layers widen. Only the
 * order of the costs matters: a wrong constant costs a few per cent of speed and never changes a vector.
 */
const cpuCosts = (hiddenSize: number): CostModel => ({
  perRun: 10,
  perCell: 0.165 / hiddenSize,
  perPackedCell: 0.29 / hiddenSize,
  perPackedToken: 1.03,
});

/**
 * From runs of the same model on an H200: up to 2,000 tokens every run takes the same 1.3 ms, each further thousand 0.2 ms. So
 * nothing costs as much as one run more, and texts of any lengths share one.
 */
const gpuCosts = (hiddenSize: number): CostModel => ({
  perRun: 2048,
  perCell: 0.1 / hiddenSize,
  perPackedCell: 0.6 / hiddenSize,
  perPackedToken: 1.1,
});

export const costModelFor = (hiddenSize: number, device: 'cpu' | 'gpu'): CostModel =>
  device === 'gpu' ? gpuCosts(hiddenSize) : cpuCosts(hiddenSize);
