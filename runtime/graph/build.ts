// Which architecture builds which model, and the whole graph: config and tensor index → ONNX with pooling and L2 norm inside. Pure.
import type { ModelDescription, ModelName, PositionTable } from '../model/description.ts';
import { unsupported } from '../model/description.ts';
import { choosePooling, printPooling } from '../model/modules.ts';
import type { Pooling, PoolingChoice } from '../model/modules.ts';
import { watchConfig } from '../model/settings.ts';
import { albert } from './architectures/albert.ts';
import { bert, roberta } from './architectures/bert.ts';
import { deberta, debertaV2 } from './architectures/deberta.ts';
import { distilbert } from './architectures/distilbert.ts';
import { electra } from './architectures/electra.ts';
import { ernie } from './architectures/ernie.ts';
import { euroBert } from './architectures/eurobert.ts';
import { gemma, gemma2, gemma3 } from './architectures/gemma.ts';
import { gptNeoX } from './architectures/gpt-neox.ts';
import { gpt2 } from './architectures/gpt2.ts';
import { gte } from './architectures/gte.ts';
import { jinaBert } from './architectures/jina-bert.ts';
import { llama, llamaBidirectional, mistral } from './architectures/llama.ts';
import { megatronBert, xlmRobertaXl } from './architectures/megatron-bert.ts';
import { modernBert } from './architectures/modernbert.ts';
import { mpnet } from './architectures/mpnet.ts';
import { neoBert } from './architectures/neobert.ts';
import { nomicBert } from './architectures/nomic-bert.ts';
import { qwen2 } from './architectures/qwen2.ts';
import { qwen3, qwen3Bidirectional } from './architectures/qwen3.ts';
import { roformer } from './architectures/roformer.ts';
import { staticEmbedding } from './architectures/static.ts';
import { t5 } from './architectures/t5.ts';
import type { BlockRule, FeedPlan, LayoutName } from './layout.ts';
import type { HeldByRuns } from './linear.ts';
import { createLayout } from './layout.ts';
import { applyModules, cutTo, toUnitLength } from './modules.ts';
import { createGraphBuilder, encodeModel, OPSETS } from './onnx.ts';
import type { OnnxValue } from './onnx.ts';
import type { Architecture, Context, Rows } from './ops.ts';
import { refuseLeftovers, requireEmbedder } from './leftover.ts';
import { openWeights } from './weights.ts';
import type { GraphPrecision, TensorIndex, TokenEmbeddings, Weights } from './weights.ts';

export interface GraphOptions {
  readonly pooling: PoolingChoice;
  readonly layout: LayoutName;
  readonly precision: GraphPrecision;
  /** Whether each run is handed the token embeddings that it needs, instead of a session mapping all of them. Default false. */
  readonly feedTokenEmbeddings?: boolean;
}

export interface BuiltGraph {
  /** A serialised ONNX ModelProto whose initializers are external data in the weight folder. */
  readonly bytes: Uint8Array;
  readonly dimensions: number;
  /** float32 `[texts, dimensions]`, each row of unit length. */
  readonly outputName: string;
  readonly feedPlan: FeedPlan;
  /** Where the graph's input `token_embeddings` comes from; undefined where ids are those of the vocabulary. */
  readonly tokenEmbeddings: TokenEmbeddings | undefined;
  /** Bytes that one session holds for weights, after any cast to the compute type. */
  readonly weightBytes: number;
  readonly held: Readonly<HeldByRuns>;
}

const ARCHITECTURES: readonly Architecture[] = [
  bert,
  roberta,
  mpnet,
  distilbert,
  albert,
  neoBert,
  nomicBert,
  modernBert,
  gte,
  jinaBert,
  electra,
  ernie,
  megatronBert,
  xlmRobertaXl,
  roformer,
  deberta,
  debertaV2,
  t5,
  euroBert,
  qwen2,
  qwen3,
  qwen3Bidirectional,
  llama,
  llamaBidirectional,
  mistral,
  gemma,
  gemma2,
  gemma3,
  staticEmbedding,
  gpt2,
  gptNeoX,
];

const SUPPORTED_TYPES = [...new Set(ARCHITECTURES.flatMap(({ modelTypes }) => modelTypes))].sort();

const byClass = ({ architecture }: ModelName): Architecture | undefined =>
  ARCHITECTURES.find(({ classes }) => classes.includes(architecture));

const byType = ({ modelType }: ModelName): Architecture | undefined =>
  ARCHITECTURES.find(({ modelTypes }) => modelTypes.includes(modelType));

/** By class name first: custom code may reuse a `model_type` for another class. */
const knownArchitecture = (description: ModelName): Architecture | undefined =>
  byClass(description) ?? byType(description);

/** A repository of transformers' own classes is loaded by `model_type` alone: a class of another family says that one of the two is wrong. */
function refuseContradiction(description: ModelName): void {
  const { architecture, modelType, config } = description;
  const [named, typed] = [byClass(description), byType(description)];
  if (named === undefined || typed === undefined || named === typed) return;
  if ('auto_map' in config || named.modelTypes.length === 0) return;
  throw unsupported(
    `config.json names the class ${architecture} and the model_type ${modelType}, which do not belong together. Save the model again with transformers.`,
  );
}

/** Numbers of a token's vector. */
export const tokenWidthOf = (description: ModelDescription): number =>
  knownArchitecture(description)?.width?.(description.config) ?? description.hiddenSize;

/** The rows that a text's positions are; those of an architecture that no builder serves count from 0. */
export function positionTableOf(name: ModelName): PositionTable {
  const architecture = knownArchitecture(name);
  return {
    start: architecture?.positions?.(name.config).start ?? 0,
    ends: architecture?.endlessPositions !== true,
    rows: architecture?.longest?.(name.config),
  };
}

/** @throws ModelError: which architectures there are */
export function findArchitecture(description: ModelName): Architecture {
  const found = knownArchitecture(description);
  if (found) {
    refuseContradiction(description);
    return found;
  }
  const { architecture, modelType } = description;
  throw unsupported(
    `Architecture ${architecture} (model_type ${modelType}) is not supported; supported model types: ${SUPPORTED_TYPES.join(', ')}.`,
  );
}

/** None of the names that tensors have: model2vec's table is called `embeddings`. */
const OUTPUT = 'text_vectors';

interface Building {
  readonly context: Context;
  readonly weights: Weights;
}

/** Token vectors → the texts' vectors, of unit length. */
function vectorsOf(
  { context, weights }: Building,
  tokens: Rows,
  description: ModelDescription,
  pooling: Pooling,
): Rows {
  const { graph, layout, compute } = context;
  const pooled = { rows: layout.pool(tokens.rows), width: tokens.width * pooling.modes.length };
  const exact = { ...context, int8: false };
  const behind = applyModules(exact, pooled, weights, description.steps);
  const { rows, width } = cutTo(exact, behind, description.truncateDim);
  const vectors = compute === 'float32' ? rows : graph.cast(rows, 'float32');
  return { rows: toUnitLength(context, vectors), width };
}

function encodeGraph(
  { graph }: Context,
  name: string,
  inputs: readonly OnnxValue[],
  { rows, width }: Rows,
): Uint8Array {
  const { nodes, initializers } = graph.collected();
  const renamed = nodes.map((node) => ({
    ...node,
    outputs: node.outputs.map((output) => (output === rows ? OUTPUT : output)),
  }));
  const outputs = [{ name: OUTPUT, element: 'float32', dims: ['texts', width] }] as const;
  return encodeModel({ name, opsets: OPSETS, nodes: renamed, initializers, inputs, outputs });
}

/** The input of `buildTail`'s graph. */
export const TOKEN_VECTORS = 'token_vectors';

/** Pooling and modules alone, behind token vectors that another graph gives: float32 `[tokens, width]`. */
export function buildTail(
  description: ModelDescription,
  tensors: TensorIndex,
  choice: PoolingChoice,
): Pick<BuiltGraph, 'bytes' | 'outputName' | 'feedPlan'> {
  const pooling = choosePooling(description, choice);
  const graph = createGraphBuilder();
  const weights = openWeights(graph, tensors, 'float32');
  const plan = { layout: 'packed', pooling } as const;
  const layout = createLayout(graph, plan, 'float32');
  const context: Context = { graph, layout, compute: 'float32', int8: false, feedTokenEmbeddings: false };
  const width = description.hiddenSize;
  const vectors = vectorsOf({ context, weights }, { rows: TOKEN_VECTORS, width }, description, pooling);
  const inputs = [...layout.inputs, { name: TOKEN_VECTORS, element: 'float32', dims: ['tokens', width] } as const];
  return { bytes: encodeGraph(context, 'modules', inputs, vectors), outputName: OUTPUT, feedPlan: plan };
}

/**
 * In int8 a block that hangs on others changes attention by 1e-7, which tips roundings, and a vector moves by up to 2e-2: each text has
 * its own, and its vector is the same to the last bit whoever else is in the run.
 */
const blocksFor = (precision: GraphPrecision): BlockRule => (precision === 'int8' ? 'own' : 'longest');

/** @throws ModelError: why no graph can be built */
export function buildGraph(description: ModelDescription, tensors: TensorIndex, options: GraphOptions): BuiltGraph {
  const architecture = findArchitecture(description);
  requireEmbedder(description);
  const watched = watchConfig(description.config);
  const { config } = watched;
  const { precision, layout: layoutName, feedTokenEmbeddings = false } = options;
  const pooling = choosePooling(description, options.pooling);
  if (description.input.kind === 'StaticEmbedding' && printPooling(pooling) !== 'mean') {
    throw unsupported('A StaticEmbedding is the mean of its token vectors: ask for pooling=mean or pooling=declared.');
  }
  const graph = createGraphBuilder();
  const weights = openWeights(graph, tensors, precision);
  const { compute } = weights;
  if (compute === 'float16' && architecture.overflowsFloat16) {
    throw unsupported(
      `Hidden states of ${description.architecture} are too large for float16. Set precision to float32.`,
    );
  }
  const layout = createLayout(graph, { layout: layoutName, pooling }, compute);
  const held: HeldByRuns = { tokenNumbers: 0, pairBytes: 0 };
  const context: Context = { graph, layout, compute, int8: precision === 'int8', feedTokenEmbeddings, held };

  const { rows, width } = architecture.encode(context, weights, { ...description, config });
  const vectors = vectorsOf({ context, weights }, { rows, width }, description, pooling);
  const positions = layout.inputs.some(({ name }) => name === 'position_ids')
    ? (architecture.positions?.(config) ?? { start: 0 })
    : undefined;
  watched.requireRead();
  refuseLeftovers(weights.unread(), description, architecture);
  return {
    bytes: encodeGraph(context, description.architecture, layout.inputs, vectors),
    dimensions: vectors.width,
    outputName: OUTPUT,
    feedPlan: { layout: layoutName, blocks: blocksFor(precision), pooling, positions },
    tokenEmbeddings: layout.fedTable(),
    weightBytes: weights.heldBytes(),
    held,
  };
}
