// Which files of a repository make a model of it, or in words why none do: one answer for the hub, the store and `models check`.
import { isRecord } from '../common/util/text.ts';
import {
  ADAPTER_CONFIG,
  MODULES_FILE,
  ModelError,
  descriptiveFiles,
  foldersOf,
  inFolder,
  isWeightIndex,
  offeredWeights,
  onnxModelOf,
  requiredFiles,
  shardsOf,
  weightFiles,
} from './files.ts';
import type { ChooseWeights, Folders, WeightFormat } from './files.ts';

/** A repository, wherever it lies. */
export interface RepositoryView {
  readonly modelId: string;
  /** Every file name. */
  readonly names: readonly string[];
  /** A JSON file, parsed; undefined where there is none, or where it is none. */
  readonly json: (name: string) => Promise<unknown>;
  /** Where an ONNX file keeps tensors beside itself: names relative to its folder. */
  readonly onnxData: (name: string) => Promise<readonly string[]>;
}

export interface SnapshotPlan {
  readonly folders: Folders;
  readonly format: WeightFormat;
  /** Configuration, tokenizer, modules. */
  readonly describing: readonly string[];
  /** The indexes of shards, which are no weights themselves. */
  readonly indexes: readonly string[];
  /** What the tensors are read from. */
  readonly weights: readonly string[];
  /** The repository's own graph where that is used, and the files beside it by the names that it gives them. */
  readonly onnxModel: string | undefined;
  readonly onnxData: ReadonlyMap<string, string>;
}

export interface Planned {
  /** Undefined where files are missing. */
  readonly plan: SnapshotPlan | undefined;
  /** For people: files without which it is no model, while nothing speaks against their being elsewhere. */
  readonly missing: readonly string[];
}

// Why a repository cannot be used.

/** Weights in forms that kubembed does not read, and what to do about them. */
const OTHER_WEIGHTS: readonly (readonly [RegExp, string])[] = [
  [
    /\.gguf$/i,
    'are in the GGUF format of llama.cpp, which kubembed does not read: name the repository that they were made from instead; its page says which that is',
  ],
  [
    /\.onnx$/i,
    'are ONNX files of another precision or name than onnx/model.onnx, which alone kubembed takes: name the repository that they were exported from instead, or add its onnx/model.onnx',
  ],
  [
    /^(?:tf_model.*\.h5|flax_model.*\.msgpack|rust_model\.ot|model\.ckpt.*|.*\.tflite)$/i,
    'are of TensorFlow, Flax or Rust, which kubembed does not read: convert them with transformers (`AutoModel.from_pretrained(ID, from_tf=True).save_pretrained(FOLDER)`, or from_flax), or look for a revision that has model.safetensors',
  ],
  [
    /^openvino\/|\.mlmodel$|\.mlpackage\/|\.mlx$|\.npz$/i,
    'are made for another engine, which kubembed cannot use: name the repository that they were made from instead',
  ],
  [
    /\.(?:pt|pth|ckpt|bin|safetensors)$/i,
    'have other names than model.safetensors and pytorch_model.bin, by which sentence-transformers finds them: save the model with `SentenceTransformer.save_pretrained`',
  ],
];

const CONVERSION =
  'a copy of the weights as safetensors may exist as a pull request (revision=refs/pr/N): see the Community tab of its page';

const refusal = (message: string): ModelError => new ModelError('UnsupportedFiles', message);

/** The model that an adapter belongs to, as it says. */
async function adapterAdvice(view: RepositoryView, name: string): Promise<string> {
  const config = await view.json(name);
  const base = isRecord(config) ? config['base_model_name_or_path'] : undefined;
  const known = typeof base === 'string' && base !== '';
  return `${known ? `it adapts ${base}. ` : ''}Merge it into its model with peft (\`merge_and_unload\`), save that as safetensors, and name the result`;
}

/** Weights that are there in another form; undefined where there are none at all. */
function otherWeights({ names }: RepositoryView): string | undefined {
  for (const [form, words] of OTHER_WEIGHTS) {
    const found = names.filter((name) => form.test(name) && !name.startsWith('adapter_model.'));
    if (found.length > 0) {
      const more = found.length > 2 ? ` and ${found.length - 2} more` : '';
      return `its weights (${found.slice(0, 2).join(', ')}${more}) ${words}`;
    }
  }
  return undefined;
}

const hasWeights = ({ names }: RepositoryView, folders: Folders): boolean =>
  Object.values(offeredWeights(names, folders)).includes(true);

/** Undefined where the files could be a model's, whole or in part. */
async function whyUnusable(view: RepositoryView, folders: Folders): Promise<string | undefined> {
  const { modelId, names } = view;
  const usable = hasWeights(view, folders);
  const adapter = inFolder(folders.main, ADAPTER_CONFIG);
  if (names.includes(adapter)) {
    const what = usable ? 'has an adapter beside its weights' : 'holds an adapter alone';
    return `${modelId} ${what} (${adapter}), which kubembed does not compute: ${await adapterAdvice(view, adapter)}`;
  }
  const other = usable ? undefined : otherWeights(view);
  if (other !== undefined) return `${modelId} has no model.safetensors: ${other}; or ${CONVERSION}`;
  const tokenizer = inFolder(folders.main, 'tokenizer.json');
  if (!usable || names.includes(tokenizer)) return undefined;
  return `${modelId} has no ${tokenizer}: make it with transformers (\`AutoTokenizer.from_pretrained(ID, use_fast=True).save_pretrained(FOLDER)\`) and add it to the repository; tokenizers that exist in Python alone cannot be used`;
}

function missingFiles(view: RepositoryView, folders: Folders): string[] {
  const missing = requiredFiles(folders).filter((name) => !view.names.includes(name));
  return hasWeights(view, folders) ? missing : [...missing, inFolder(folders.main, 'model.safetensors')];
}

// What is taken.

async function configOf(view: RepositoryView, { main, isStatic }: Folders): Promise<Readonly<Record<string, unknown>>> {
  const name = inFolder(main, 'config.json');
  const config = await view.json(name);
  if (isRecord(config)) return config;
  if (isStatic) return {};
  throw refusal(`${view.modelId}: ${name} is no JSON object`);
}

/** Rejects with a ModelError where the files show that they make no model, and with what `choose` throws. */
export async function planSnapshot(view: RepositoryView, choose: ChooseWeights): Promise<Planned> {
  const { names } = view;
  const folders = foldersOf(await view.json(MODULES_FILE));
  const why = await whyUnusable(view, folders);
  if (why !== undefined) throw refusal(why);
  const lacking = missingFiles(view, folders);
  if (lacking.length > 0) return { plan: undefined, missing: lacking };
  const format = await formatOf(view, folders, choose);
  const { indexes, weights, missing } = await tensorFilesOf(view, weightFiles(names, folders, format));
  const onnxModel = format === 'onnx' ? onnxModelOf(names, folders) : undefined;
  const onnxData = new Map(onnxModel === undefined ? [] : await namedData(view, onnxModel));
  const absent = [...missing, ...[...onnxData.values()].filter((name) => !names.includes(name))];
  if (absent.length > 0) return { plan: undefined, missing: absent };
  const describing = descriptiveFiles(names, folders);
  const tensors = weights.filter((name) => name !== onnxModel);
  return { plan: { folders, format, describing, indexes, weights: tensors, onnxModel, onnxData }, missing: [] };
}

async function formatOf(view: RepositoryView, folders: Folders, choose: ChooseWeights): Promise<WeightFormat> {
  const offered = offeredWeights(view.names, folders);
  const config = await configOf(view, folders);
  const format = folders.isStatic && offered.bin && !offered.safetensors ? 'bin' : 'safetensors';
  const chosen = folders.isStatic ? format : choose(config, offered, view.modelId);
  if (offered[chosen]) return chosen;
  throw refusal(`${view.modelId} has no weights that a table of token vectors could be read from`);
}

/** Of each folder that has an index, the shards which that names, and no others. */
async function tensorFilesOf(view: RepositoryView, found: readonly string[]) {
  const indexes = found.filter(isWeightIndex);
  const shards = new Map<string, readonly string[]>();
  for (const index of indexes) shards.set(folderOf(index), shardsOf(index, await view.json(index)));
  const listed = [...shards.values()].flat();
  const isListed = (name: string): boolean => !shards.has(folderOf(name)) || listed.includes(name);
  return {
    indexes,
    weights: found.filter((name) => !isWeightIndex(name) && isListed(name)),
    missing: [
      ...indexes.filter((index) => shards.get(folderOf(index))?.length === 0).map((index) => `the shards of ${index}`),
      ...listed.filter((name) => !view.names.includes(name)),
    ],
  };
}

const folderOf = (name: string): string => name.slice(0, name.lastIndexOf('/') + 1);

/** The files beside an ONNX file, by its names for them and by theirs in the repository. */
async function namedData(view: RepositoryView, onnxModel: string): Promise<(readonly [string, string])[]> {
  const folder = folderOf(onnxModel);
  const pairs = (await view.onnxData(onnxModel)).map((name) => [name, folder + name.replace(/^\.\//, '')] as const);
  const outside = pairs.find(([, name]) => name.split('/').some((part) => part === '' || part === '..'));
  if (outside === undefined) return pairs;
  throw refusal(`${view.modelId}: ${onnxModel} keeps tensors outside of its folder, in ${outside[0]}`);
}
