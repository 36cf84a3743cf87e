// The modules of sentence-transformers behind the pooling, on one vector a text: Dense, LayerNorm, Normalize, and the cut of truncate_dim.
import { ModelError } from '../../hub/files.ts';
import { unsupported } from '../model/description.ts';
import type { ModuleStep } from '../model/modules.ts';
import { linear } from './linear.ts';
import { activation, add, normalize } from './ops.ts';
import type { Context, Rows } from './ops.ts';
import type { Value } from './onnx.ts';
import type { Weights } from './weights.ts';

type Dense = Extract<ModuleStep, { kind: 'dense' }>;
type Norm = Extract<ModuleStep, { kind: 'layerNorm' }>;

/** torch.nn.LayerNorm's own. */
const EPSILON = 1e-5;

/** Of unit length. */
export const toUnitLength = ({ graph }: Pick<Context, 'graph'>, rows: Value): Value =>
  graph.node('LpNormalization', [rows], { attributes: { axis: { int: -1 }, p: { int: 2 } } });

function requireWidth(path: string, wanted: number, given: number): void {
  if (wanted === given) return;
  throw unsupported(
    `${path} takes vectors of ${wanted} numbers, and what comes before it gives ${given}. Where the repository declares a pooling, ask for it with pooling=declared.`,
  );
}

function weightsOf({ path }: { readonly path: string }, weights: Weights, probe: string): Weights {
  const own = weights.below(`${path}/`);
  if (own.has(probe)) return own;
  throw new ModelError(
    'CorruptWeights',
    `The weights of the module ${path} are missing: there is no tensor ${probe} in ${path}/model.safetensors or ${path}/pytorch_model.bin.`,
  );
}

function dense(context: Context, { rows, width }: Rows, weights: Weights, step: Dense): Rows {
  const { path, inputs, outputs, bias } = step;
  requireWidth(path, inputs, width);
  const own = weightsOf(step, weights, 'linear.weight');
  if (own.has('linear.bias') !== bias) {
    throw new ModelError('CorruptWeights', `${path}: config.json says bias ${String(bias)}, and its weights do not.`);
  }
  const mapped = linear(context, rows, own.below('linear.'), { inputs, outputs });
  const active = step.activation === undefined ? mapped : activation(context, mapped, step.activation);
  if (!step.residual) return { rows: active, width: outputs };
  const past = inputs === outputs ? rows : linear(context, rows, own.below('residual.'), { inputs, outputs });
  return { rows: add(context, active, past), width: outputs };
}

function layerNorm(context: Context, { rows, width }: Rows, weights: Weights, step: Norm): Rows {
  requireWidth(step.path, step.width, width);
  const own = weightsOf(step, weights, 'norm.weight').below('norm.');
  return { rows: normalize(context, rows, own, { width, epsilon: EPSILON }), width };
}

const applyStep = (context: Context, vectors: Rows, weights: Weights, step: ModuleStep): Rows => {
  if (step.kind === 'dense') return dense(context, vectors, weights, step);
  if (step.kind === 'layerNorm') return layerNorm(context, vectors, weights, step);
  return { ...vectors, rows: toUnitLength(context, vectors.rows) };
};

/** Pooled vectors → those behind the last module. */
export const applyModules = (context: Context, pooled: Rows, weights: Weights, steps: readonly ModuleStep[]): Rows =>
  steps.reduce((vectors, step) => applyStep(context, vectors, weights, step), pooled);

/** The first `dimensions` numbers, where there are more. */
export function cutTo({ graph }: Context, { rows, width }: Rows, dimensions: number | undefined): Rows {
  if (dimensions === undefined || dimensions >= width) return { rows, width };
  const first = graph.node('Slice', [rows, graph.int64([0]), graph.int64([dimensions]), graph.int64([1])]);
  return { rows: first, width: dimensions };
}
