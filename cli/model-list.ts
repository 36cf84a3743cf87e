// The text of supported_models.txt with a model more or less: comments, order and the options of other lines stay. Pure.
import { isDeepStrictEqual } from 'node:util';
import { parseCatalog } from '../api/catalog.ts';
import type { CatalogEntry } from '../api/catalog.ts';
import { suggestion } from '../common/util/text.ts';
import { CommandError, UsageError } from './command.ts';

/** @throws UsageError: why the line is none */
function entryOf(line: string): CatalogEntry {
  const { faults, entries } = parseCatalog(line);
  const [fault] = faults;
  const [entry] = entries;
  if (fault?.message.startsWith('spec.model:') === true)
    throw new UsageError(
      `"${line.split(/\s/, 1)[0] ?? ''}" is not a Hugging Face id, which is "name" or "organisation/name".`,
    );
  if (fault !== undefined || entry === undefined) throw new UsageError(fault?.message ?? `"${line}" is no model id`);
  return entry;
}

/** Whether a line says all that the other asks for. */
function covers({ spec: listed }: CatalogEntry, { spec: asked }: CatalogEntry): boolean {
  const { scaling } = listed;
  const both = { ...listed, ...asked, ...(scaling && { scaling: { ...scaling, ...asked.scaling } }) };
  return isDeepStrictEqual(listed, both);
}

/**
 * The list with one more line; an id that is there already changes nothing.
 * @param wanted the options that were asked for by name, as a line: a line of the id that has others is no answer to that
 */
export function withModel(text: string, line: string, wanted?: string): string {
  const { model } = entryOf(line).spec;
  const { entries, models } = parseCatalog(text);
  if (!models.has(model)) return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${line}\n`;
  const listed = entries.find(({ spec }) => spec.model === model);
  if (listed === undefined || wanted === undefined || covers(listed, entryOf(wanted))) return text;
  throw new CommandError(
    `${model} is in line ${listed.line} already, with other options. Edit that line, or remove it first.`,
  );
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
