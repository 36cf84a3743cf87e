// One linear layer as a graph of its own, in either precision: what tells which of them a CPU is faster at. Pure.
import { createGraphBuilder, MICROSOFT } from './builder.ts';
import type { LinearShape } from './int8.ts';
import { encodeModel } from './onnx.ts';
import { linear } from './ops.ts';
import type { GraphPrecision } from './types.ts';

export const TRIAL_INPUT = 'rows';

/** Any values do, as long as none is special: the time does not depend on them. */
function values(count: number): Float32Array {
  const made = new Float32Array(count);
  for (let index = 0; index < count; index++) made[index] = ((index * 7919) % 251) / 125 - 1;
  return made;
}

export interface LinearTrial {
  readonly bytes: Uint8Array;
  readonly outputName: string;
  /** Feed for `TRIAL_INPUT`. */
  readonly rows: { readonly type: 'float32'; readonly data: Float32Array; readonly dims: readonly number[] };
}

export function buildLinearTrial(
  { inputs, outputs }: LinearShape,
  tokens: number,
  precision: Extract<GraphPrecision, 'float32' | 'int8'>,
): LinearTrial {
  const graph = createGraphBuilder();
  const tensor = (name: string, dims: readonly number[]) =>
    graph.initializer({
      name,
      element: 'float32',
      dims,
      data: new Uint8Array(values(dims.reduce((product, dim) => product * dim, 1)).buffer),
    });
  const weights = { tensor, optional: tensor };
  const outputName = linear({ graph, int8: precision === 'int8' }, TRIAL_INPUT, weights, { inputs, outputs });
  const { nodes, initializers } = graph.collected;
  return {
    bytes: encodeModel({
      name: 'linear',
      opsets: { '': 18, [MICROSOFT]: 1 },
      nodes,
      initializers,
      inputs: [{ name: TRIAL_INPUT, element: 'float32', dims: ['tokens', inputs] }],
      outputs: [{ name: outputName, element: 'float32', dims: ['tokens', outputs] }],
    }),
    outputName,
    rows: { type: 'float32', data: values(tokens * inputs), dims: [tokens, inputs] },
  };
}
