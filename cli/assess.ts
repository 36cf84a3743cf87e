// Whether kubembed can serve a repository, what that takes, what a person should know of it, and how that reads. Pure.
import { SELF } from './command.ts';
import { printBytes } from '../common/util/text.ts';
import { buildGraph } from '../runtime/graph/build.ts';
import { layoutFor } from '../runtime/graph/layout.ts';
import { planFile } from '../runtime/graph/repository-file.ts';
import type { GraphPrecision, TensorIndex } from '../runtime/graph/weights.ts';
import type { ModelDescription } from '../runtime/model/description.ts';
import { choosePooling, declaredPooling, printPooling } from '../runtime/model/modules.ts';
import type { ModuleStep, PoolingChoice } from '../runtime/model/modules.ts';
import { describeFiles, dimensionsOf } from '../runtime/model/snapshot.ts';
import { defaultFronts, estimateMemory, maxWorkers } from '../runtime/model/memory.ts';
import { precisionOfFile } from '../runtime/model/precision.ts';
import { weightBytesOf } from './repository.ts';
import type { Repository } from './repository.ts';
import type { Paint } from './terminal.ts';

export interface Choices {
  readonly device: 'cpu' | 'gpu';
  readonly precision: GraphPrecision;
  readonly pooling: PoolingChoice;
  readonly cpus: number;
}

export type Assessment = ReturnType<typeof assess>;

/** Undefined where the headers are not known. */
const tensorFacts = (tensors: TensorIndex | undefined) => {
  if (tensors === undefined) return { dtypes: undefined, parameters: undefined };
  const entries = [...tensors.values()].filter(({ dtype }) => dtype.includes('F'));
  return {
    dtypes: [...new Set(entries.map(({ dtype }) => dtype))].sort(),
    parameters: entries.reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0),
  };
};

const BYTES: Readonly<Record<GraphPrecision, number>> = { float32: 4, float16: 2, int8: 1 };

/** What it would be computed in. */
const precisionIn = ({ plan }: Repository, { precision }: Choices): GraphPrecision =>
  plan.format === 'onnx' ? precisionOfFile(precision) : precision;

/** The graph is built as it would be for serving: a tensor that is missing is found here, not after the download. */
function needsOf(repository: Repository, description: ModelDescription, choices: Choices) {
  const { tensors, plan, onnx } = repository;
  if (plan.format !== 'onnx' && tensors !== undefined) {
    const { pooling, precision, device } = choices;
    return buildGraph(description, tensors, {
      pooling,
      layout: layoutFor(device),
      precision,
      feedTokenEmbeddings: device === 'cpu',
    });
  }
  precisionIn(repository, choices);
  if (onnx !== undefined) planFile(description, onnx, tensors ?? new Map(), choices.pooling);
  const bytes = weightBytesOf(repository);
  // Without headers the stored type is unknown: float32, as most are.
  const weightBytes = plan.format === 'onnx' ? bytes : (bytes / 4) * BYTES[choices.precision];
  return { dimensions: dimensionsOf(description, choices.pooling), weightBytes, held: undefined };
}

/** What is done to the pooled vector, but for the norm in the end. */
function printStep(step: ModuleStep): string {
  if (step.kind === 'normalize') return 'Normalize';
  if (step.kind === 'layerNorm') return `LayerNorm ${step.width}`;
  return `Dense ${step.inputs} → ${step.outputs}${step.activation === undefined ? '' : `, ${step.activation}`}`;
}

const promptsOf = ({ prompts }: ModelDescription): Readonly<Record<string, string>> =>
  Object.fromEntries([...prompts.texts].filter(([, text]) => text !== ''));

interface UsedPooling {
  readonly used: string;
  readonly declared: string | undefined;
}

const poolingAdvice = ({ used, declared = used }: UsedPooling, model: string): readonly string[] =>
  declared === used
    ? []
    : [
        `The repository declares ${declared} pooling, and vectors would be pooled by ${used}. The line that follows the repository: ${model} pooling=declared`,
      ];

function warningsOf(
  repository: Repository,
  pooling: UsedPooling,
  texts: Readonly<Record<string, string>>,
): readonly string[] {
  const prompts = Object.entries(texts).map(([name, text]) => `${name}: ${JSON.stringify(text)}`);
  const isFile = repository.plan.format === 'onnx';
  return [
    ...poolingAdvice(pooling, repository.modelId),
    ...(repository.json.has('modules.json')
      ? []
      : ['The repository says nothing of sentence-transformers: it may not have been trained for embeddings.']),
    ...(prompts.length === 0
      ? []
      : [
          `Its authors put a prompt before texts (${prompts.join('; ')}): requests ask for one with prompt_name or input_type.`,
        ]),
    ...(isFile || repository.tensors !== undefined
      ? []
      : [
          'The headers of the weights could not be read: sizes are estimates, and whether all tensors are there is seen when it is loaded.',
        ]),
    ...(isFile && repository.onnx === undefined
      ? ["The repository's ONNX file was not looked at: whether its inputs and outputs fit is seen when it is loaded."]
      : []),
  ];
}

/** @throws ModelError: why it cannot be served */
export function assess(repository: Repository, choices: Choices) {
  const { modelId, json, plan, tensors } = repository;
  const description = describeFiles(json, tensors ?? new Map());
  const { architecture, modelType, maxTokens, hiddenSize, vocabularySize } = description;
  const pooling = {
    used: printPooling(choosePooling(description, choices.pooling)),
    declared: declaredPooling(description),
  };
  const prompts = promptsOf(description);
  const { dimensions, weightBytes, held } = needsOf(repository, description, choices);
  const needs = { device: choices.device, weightBytes, held, maxTokens, hiddenSize, vocabularySize };
  const memoryWith = (cpus: number): number => {
    const fronts = defaultFronts(choices.device, { cpus, memoryBytes: Infinity });
    return estimateMemory({ ...needs, fronts }, maxWorkers(choices.device, cpus), Infinity).estimatedBytes;
  };
  return {
    model: modelId,
    source: repository.source,
    revision: repository.revision,
    architecture,
    modelType,
    dimensions,
    maxTokens,
    pooling,
    modules: description.steps.map(printStep),
    prompts,
    weights: {
      format: plan.format,
      bytes: weightBytesOf(repository),
      ...tensorFacts(plan.format === 'onnx' ? undefined : tensors),
    },
    memory: {
      device: choices.device,
      precision: precisionIn(repository, choices),
      /** With one CPU: what the limit must be at least. */
      minBytes: memoryWith(1),
      cpus: choices.cpus,
      /** With all of `cpus`. */
      bytes: memoryWith(choices.cpus),
    },
    warnings: warningsOf(repository, pooling, prompts),
  };
}

// In words.

const millions = (parameters: number): string =>
  parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} billion` : `${(parameters / 1e6).toFixed(1)} million`;

function weightsLine({ format, bytes, dtypes, parameters }: Assessment['weights']): string {
  const types = dtypes === undefined ? '' : `, ${dtypes.join(' and ')}`;
  const size = parameters === undefined ? '' : `, ${millions(parameters)} parameters`;
  return `${printBytes(bytes)} ${format}${types}${size}`;
}

function memoryLine({ device, precision, minBytes, cpus, bytes }: Assessment['memory']): string {
  const more = cpus > 1 ? `, ${printBytes(bytes)} to use ${cpus} CPUs` : '';
  return `about ${printBytes(minBytes)}${more} (${device}, ${precision})`;
}

/** @param file the list of supported models, and whether the model is in it */
export function report(
  assessment: Assessment,
  { file, listed }: { readonly file: string; readonly listed: boolean },
  paint: Paint,
): string {
  const { model, pooling, modules } = assessment;
  const declared = pooling.declared === undefined ? 'the repository declares none' : `declared: ${pooling.declared}`;
  const facts = [
    ['architecture', `${assessment.architecture} (${assessment.modelType})`],
    ['dimensions', String(assessment.dimensions)],
    ['max tokens', String(assessment.maxTokens)],
    ['pooling', `${pooling.used} (${declared})`],
    ...(modules.length > 0 ? [['modules', modules.join('; ')] as const] : []),
    ['weights', weightsLine(assessment.weights)],
    ['memory', memoryLine(assessment.memory)],
    ['revision', `${assessment.revision.slice(0, 12)} (${assessment.source})`],
    ['listed', listed ? `yes, in ${file}` : `no; add it with: ${SELF} models add ${model}`],
  ] as const;
  return [
    `${paint('green', '✔')} ${paint('bold', model)} can be served\n\n`,
    ...facts.map(([name, text]) => `  ${paint('dim', name.padEnd(14))}${text}\n`),
    ...assessment.warnings.map((warning) => `\n${paint('yellow', '!')} ${warning}\n`),
  ].join('');
}
