// Twins with one thing changed, as `tools/fixtures/make-mutations.py` lists them, and what sentence-transformers made of each.
import { readFileSync } from 'node:fs';
import { isRecord } from '../../common/util/text.ts';
import { repositoryFiles, weightBytes } from './twins.ts';
import type { TensorRow, Twin } from './twins.ts';

type Path = readonly (string | number)[];

type JsonChange = readonly ['set', Path, unknown] | readonly ['remove', Path];
type TensorChange =
  | readonly ['tensor', string, string, readonly number[]]
  | readonly ['removeTensor', string]
  | readonly ['addTensor', TensorRow]
  | readonly ['renameTensor', string, string]
  | readonly ['prefixTensors', string];
type Change = JsonChange | TensorChange | readonly ['removeFile'];

export interface Mutation {
  readonly twin: string;
  readonly file: string;
  readonly change: Change;
  /** `same`: the twin's own vectors. `fails`: the original cannot serve it. `random`: it makes up what is missing. */
  readonly expected: 'same' | 'fails' | 'random' | { readonly dimensions: number; readonly base64: string };
}

export const readMutations = (path: string): readonly Mutation[] =>
  JSON.parse(readFileSync(path, 'utf8')) as readonly Mutation[];

/** For people, and a mutation's name in a test's output. */
export const printMutation = ({ twin, file, change }: Mutation): string => `${twin} ${file} ${JSON.stringify(change)}`;

/** The first numbers of the vector of each text. */
export function numbersOf(base64: string, texts: number): Float32Array[] {
  const numbers = new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
  const each = numbers.length / texts;
  return Array.from({ length: texts }, (_, text) => numbers.subarray(text * each, (text + 1) * each));
}

function changeJson(content: unknown, change: JsonChange): unknown {
  const [kind, path] = change;
  const [key, ...inner] = path;
  if (key === undefined) return change[2];
  const deeper = (value: unknown): unknown =>
    kind === 'set' ? changeJson(value, ['set', inner, change[2]]) : changeJson(value, ['remove', inner]);
  const gone = kind === 'remove' && inner.length === 0;
  if (Array.isArray(content)) {
    return content.flatMap((value: unknown, at) => (at !== key ? [value] : gone ? [] : [deeper(value)]));
  }
  const { [key]: value, ...others } = isRecord(content) ? content : {};
  return gone ? others : { ...others, [key]: deeper(value) };
}

function changeRows(rows: readonly TensorRow[], change: TensorChange): readonly TensorRow[] {
  const named = (name: string, to: (row: TensorRow) => readonly TensorRow[]): readonly TensorRow[] =>
    rows.flatMap((row) => (row[0] === name ? to(row) : [row]));
  switch (change[0]) {
    case 'addTensor':
      return [...rows, change[1]];
    case 'prefixTensors':
      return rows.map(([name, ...row]) => [change[1] + name, ...row]);
    case 'removeTensor':
      return named(change[1], () => []);
    case 'renameTensor':
      return named(change[1], ([, ...row]) => [[change[2], ...row]]);
    case 'tensor':
      return named(change[1], ([name, , , ...row]) => [[name, change[2], change[3], ...row]]);
  }
}

/** Every file of the changed repository by its name. */
export async function mutatedFiles(twin: Twin, { file, change }: Mutation): Promise<Map<string, Buffer>> {
  const files = await repositoryFiles(twin);
  const weights = twin.weights[file];
  if (change[0] === 'removeFile') files.delete(file);
  else if (change[0] !== 'set' && change[0] !== 'remove') {
    if (weights === undefined) throw new Error(`${twin.name} has no weights ${file}`);
    files.set(file, weightBytes(weights.form, changeRows(weights.tensors, change)));
  } else {
    const before = files.get(file);
    const content: unknown = before === undefined ? {} : JSON.parse(before.toString());
    files.set(file, Buffer.from(JSON.stringify(changeJson(content, change))));
  }
  return files;
}
