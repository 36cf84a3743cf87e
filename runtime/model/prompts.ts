// The prompts that a repository was trained with: text before each input, by name or by what the input is. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError } from '../../hub/files.ts';

export interface Prompts {
  readonly texts: ReadonlyMap<string, string>;
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
  const texts = new Map(said.map(([key, text]) => [key, typeof text === 'string' ? text : '']));
  for (const key of ALWAYS) if (!texts.has(key)) texts.set(key, '');
  if (name === undefined || name === null) return { texts, standard: '' };
  const standard = typeof name === 'string' ? texts.get(name) : undefined;
  if (standard !== undefined) return { texts, standard };
  throw new ModelError(
    'UnsupportedFiles',
    `${FILE}: default_prompt_name is ${JSON.stringify(name)}, and prompts has ${[...texts.keys()].join(', ')}.`,
  );
}

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
}

/**
 * Text to put before each input; undefined for a name that the model does not have. A kind of input for which the repository has no
 * prompt gets none, not the default one.
 */
export function promptFor({ texts, standard }: Prompts, { promptName, inputType }: AskedPrompt): string | undefined {
  if (promptName !== undefined) return texts.get(promptName);
  if (inputType === undefined) return standard;
  // `query` and `document` may be here for form's sake alone.
  return NAMES[inputType].map((name) => texts.get(name)).find(Boolean) ?? '';
}
