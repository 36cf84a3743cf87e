// Whether kubembed can serve a repository, what that takes, and what a person should know of it. Pure.
import { chooseTopology } from '../../runtime/engine/topology.ts';
import { describeModel } from '../../runtime/model/describe.ts';
import { offeredWeights, requireUsable, weightFiles } from '../../hub/files.ts';
import type { WeightFormat } from '../../hub/files.ts';
import { buildGraph } from '../../runtime/graph/build.ts';
import type { GraphPrecision, TensorIndex } from '../../runtime/graph/types.ts';
import { ModelError } from '../../hub/errors.ts';
import type { ModelDescription } from '../../runtime/model/types.ts';
import { chooseWeights } from '../../runtime/lifecycle-model.ts';
import { PROMPTS_FILE } from './repository.ts';
import type { Repository } from './repository.ts';

export interface Wish {
  readonly device: 'cpu' | 'gpu';
  readonly precision: GraphPrecision;
  readonly pooling: 'mean' | 'cls';
  readonly cpus: number;
}

export interface Verdict {
  readonly model: string;
  readonly source: Repository['source'];
  readonly revision: string;
  readonly architecture: string;
  readonly modelType: string;
  readonly dimensions: number;
  readonly maxTokens: number;
  readonly pooling: { readonly used: string; readonly declared?: string };
  readonly weights: {
    readonly format: WeightFormat;
    readonly bytes: number;
    readonly dtypes?: readonly string[];
    readonly parameters?: number;
  };
  readonly memory: {
    readonly device: string;
    readonly precision: string;
    /** With one CPU: what the limit must be at least. */
    readonly leastBytes: number;
    readonly cpus: number;
    /** With all of `cpus`. */
    readonly bytes: number;
  };
  readonly warnings: readonly string[];
}

const tensorFacts = (tensors: TensorIndex) => {
  const entries = [...tensors.values()].filter(({ dtype }) => dtype.includes('F'));
  return {
    dtypes: [...new Set(entries.map(({ dtype }) => dtype))].sort(),
    parameters: entries.reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0),
  };
};

const BYTES: Readonly<Record<GraphPrecision, number>> = { float32: 4, float16: 2, int8: 1 };

interface Needs {
  readonly dimensions: number;
  readonly weightBytes: number;
}

/** The graph is built as it would be for serving: a tensor that is missing is found here, not after the download. */
function needsOf(repository: Repository, description: ModelDescription, format: WeightFormat, wish: Wish): Needs {
  const { tensors } = repository;
  if (format === 'safetensors' && tensors !== undefined) {
    const { pooling, precision, device } = wish;
    return buildGraph(description, tensors, { pooling, layout: 'flexible', precision, feedWords: device === 'cpu' });
  }
  const { denseLayers = [], hiddenSize } = description;
  const bytes = weightBytesOf(repository, format);
  // Without headers the stored type is unknown: float32, as most are.
  const weightBytes = format === 'onnx' ? bytes : (bytes / 4) * BYTES[wish.precision];
  return { dimensions: denseLayers.at(-1)?.outFeatures ?? hiddenSize, weightBytes };
}

const weightBytesOf = ({ files }: Repository, format: WeightFormat): number =>
  weightFiles([...files.keys()], format).reduce((sum, name) => sum + (files.get(name) ?? 0), 0);

const promptsOf = ({ json }: Repository): readonly string[] => {
  const config = json.get(PROMPTS_FILE) as { prompts?: unknown } | undefined;
  const prompts = config?.prompts;
  if (typeof prompts !== 'object' || prompts === null) return [];
  return Object.entries(prompts).flatMap(([name, text]) =>
    typeof text === 'string' && text !== '' ? [`${name}: ${JSON.stringify(text)}`] : [],
  );
};

const poolingAdvice = (declared: string | undefined, used: string): readonly string[] => {
  if (declared === undefined || declared === used) return [];
  const known = declared === 'mean' || declared === 'cls';
  const advice = known ? `ask for it with pooling=${declared}` : 'kubembed does not compute it';
  return [`The repository declares ${declared} pooling, and vectors would be pooled by ${used}: ${advice}.`];
};

function warningsOf(repository: Repository, description: ModelDescription, wish: Wish): readonly string[] {
  const prompts = promptsOf(repository);
  const hasHeaders = repository.tensors !== undefined || !offeredWeights([...repository.files.keys()]).safetensors;
  return [
    ...poolingAdvice(description.declaredPooling, wish.pooling),
    ...(repository.json.has('modules.json')
      ? []
      : ['The repository says nothing of sentence-transformers: it may not have been trained for embeddings.']),
    ...(prompts.length === 0
      ? []
      : [`Its authors put a prompt before texts (${prompts.join('; ')}); clients must send it as part of the input.`]),
    ...(hasHeaders ? [] : ['The headers of the weights could not be read: sizes are estimates.']),
  ];
}

/** @throws ModelError, GraphError: why it cannot be served */
export function judge(repository: Repository, wish: Wish): Verdict {
  const { modelId, json, files, tensors } = repository;
  const names = [...files.keys()];
  requireUsable(modelId, names);
  const config = json.get('config.json');
  if (typeof config !== 'object' || config === null) {
    throw new ModelError('UnsupportedFiles', `${modelId}: config.json is no JSON object`);
  }
  const format = chooseWeights(config as Readonly<Record<string, unknown>>, offeredWeights(names));
  const description = describeModel(json);
  const { architecture, modelType, maxTokens, hiddenSize, declaredPooling } = description;
  const { dimensions, weightBytes } = needsOf(repository, description, format, wish);
  const memoryWith = (cpus: number): number => {
    const machine = { cpus, memoryBytes: Infinity, scratchBytes: Infinity };
    return chooseTopology(machine, { device: wish.device, weightBytes, maxTokens, hiddenSize }).estimatedBytes;
  };
  return {
    model: modelId,
    source: repository.source,
    revision: repository.revision,
    architecture,
    modelType,
    dimensions,
    maxTokens,
    pooling: { used: wish.pooling, ...(declaredPooling !== undefined && { declared: declaredPooling }) },
    weights: {
      format,
      bytes: weightBytesOf(repository, format),
      ...(format === 'safetensors' && tensors !== undefined && tensorFacts(tensors)),
    },
    memory: {
      device: wish.device,
      precision: wish.precision,
      leastBytes: memoryWith(1),
      cpus: wish.cpus,
      bytes: memoryWith(wish.cpus),
    },
    warnings: warningsOf(repository, description, wish),
  };
}
