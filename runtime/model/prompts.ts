// The prompts that a repository was trained with: text before each input, by name or by what the input is. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError } from '../../hub/files.ts';

export interface Prompts {
  readonly texts: ReadonlyMap<string, string>;
  /** Names of those that the repository has itself. */
  readonly declared: ReadonlySet<string>;
  /** What is put before inputs where a request asks for none; often empty. */
  readonly standard: string;
}

const FILE = 'config_sentence_transformers.json';

/** sentence-transformers knows these two of every model; where a repository says nothing they are empty. */
const ALWAYS = ['query', 'document'];

/**
 * @param settings config_sentence_transformers.json
 * @throws ModelError where the default is no prompt, as sentence-transformers does
 */
export function readPrompts(settings: Readonly<Record<string, unknown>>): Prompts {
  const { prompts, default_prompt_name: name } = settings;
  const said = isRecord(prompts) ? Object.entries(prompts) : [];
  const declared = new Set(said.map(([key]) => key));
  const texts = new Map(said.map(([key, text]) => [key, typeof text === 'string' ? text : '']));
  for (const key of ALWAYS) if (!texts.has(key)) texts.set(key, '');
  if (name === undefined || name === null) return { texts, declared, standard: '' };
  const standard = typeof name === 'string' ? texts.get(name) : undefined;
  if (standard !== undefined) return { texts, declared, standard };
  throw new ModelError(
    'UnsupportedFiles',
    `${FILE}: default_prompt_name is ${JSON.stringify(name)}, and prompts has ${[...texts.keys()].join(', ')}.`,
  );
}

// By served name, for clients that can send nothing but the name of a model.

/** Texts by served name, in lower case. */
export type PromptsOfNames = ReadonlyMap<string, string>;

const WORD = /^[\w.-]+$/;

function promptOfName({ texts, declared }: Prompts, [served, asked]: readonly [string, string]): string {
  if (declared.has(asked)) return texts.get(asked) ?? '';
  if (!WORD.test(asked)) return asked;
  const known = declared.size === 0 ? 'it names none' : `it has ${[...declared].join(', ')}`;
  throw new ModelError(
    'PromptNotFound',
    `prompts: the repository has no prompt ${asked}, which ${served} is to have; ${known}. A text is written with the space or colon that it ends in.`,
  );
}

/**
 * @param asked a prompt's name or its text, by served name
 * @throws ModelError for a word that is no name of a prompt
 */
export const promptsOfNames = (prompts: Prompts, asked: Readonly<Record<string, string>>): PromptsOfNames =>
  new Map(Object.entries(asked).map((entry) => [entry[0].toLowerCase(), promptOfName(prompts, entry)]));

/** Names that repositories give the prompt of each kind of input, the likeliest first. */
const NAMES = {
  query: ['query'],
  passage: ['passage', 'document', 'corpus'],
  document: ['document', 'passage', 'corpus'],
} as const;

export type InputType = keyof typeof NAMES;

export interface AskedPrompt {
  readonly promptName?: string | undefined;
  readonly inputType?: InputType | undefined;
  /** The name that the model was asked by. */
  readonly model?: string;
}

/**
 * Text to put before each input; undefined for a name that the model does not have. A kind of input for which the repository has no
 * prompt gets none, not the default one. What the request says wins over the name under which the model was asked.
 */
export function promptFor(
  { texts, standard }: Prompts,
  { promptName, inputType, model = '' }: AskedPrompt,
  ofNames?: PromptsOfNames,
): string | undefined {
  if (promptName !== undefined) return texts.get(promptName);
  if (inputType === undefined) return ofNames?.get(model.toLowerCase()) ?? standard;
  // `query` and `document` may be here for form's sake alone.
  return NAMES[inputType].map((name) => texts.get(name)).find(Boolean) ?? '';
}
