// The list of supported models as a file: read, and edited so that comments, order and options of other lines stay.
import { readFile } from 'node:fs/promises';
import { parseCatalog } from '../../api/catalog.ts';
import { CommandError, UsageError } from '../command.ts';
import { suggestion } from '../../common/util/text.ts';

export const FILE_OPTION = { file: { type: 'string', short: 'f' } } as const;

export const listFile = (
  text: (option: string) => string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string => text('file') ?? env['KUBEMBED_SUPPORTED_MODELS'] ?? 'supported_models.txt';

export async function readList(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new CommandError(`${file} cannot be read; name the list with --file.`, undefined, { cause });
  }
}

/** The list with one more line; an id that is there already changes nothing. */
export function withModel(text: string, line: string): string {
  const catalog = parseCatalog(line);
  const [fault] = catalog.faults;
  const [entry] = catalog.entries;
  if (fault?.message.startsWith('spec.model:') === true)
    throw new UsageError(
      `"${line.split(/\s/, 1)[0] ?? ''}" is no Hugging Face id: those are "name" or "organisation/name".`,
    );
  if (fault !== undefined || entry === undefined) throw new UsageError(fault?.message ?? `"${line}" is no model id`);
  if (parseCatalog(text).models.has(entry.spec.model)) return text;
  const end = text === '' || text.endsWith('\n') ? '' : '\n';
  return `${text}${end}${line}\n`;
}

/** The list without every line of this model. */
export function withoutModel(text: string, model: string): string {
  const { entries, models } = parseCatalog(text);
  const gone = new Set(entries.filter(({ spec }) => spec.model === model).map(({ line }) => line));
  if (gone.size === 0) throw new CommandError(`${model} is not in the list.${suggestion(model, [...models])}`);
  return text
    .split('\n')
    .filter((_, index) => !gone.has(index + 1))
    .join('\n');
}
