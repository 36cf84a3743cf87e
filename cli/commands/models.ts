// `kubembed models`: reads and edits the list of supported models, keeping comments, order and options of other lines.
import { readFile, writeFile } from 'node:fs/promises';
import { parseCatalog } from '../../operator/catalog/parse.ts';
import { CommandError, parse, UsageError } from '../command.ts';
import type { Command } from '../command.ts';

const OPTIONS = { file: { type: 'string', short: 'f' }, json: { type: 'boolean' } } as const;

async function readList(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    throw new CommandError(`${file} cannot be read; name the list with --file.`);
  }
}

/** The list with one more line; an id that is there already changes nothing. */
export function withModel(text: string, line: string): string {
  const catalog = parseCatalog(line);
  const [fault] = catalog.faults;
  const [entry] = catalog.entries;
  if (fault !== undefined || entry === undefined) throw new UsageError(fault?.message ?? `"${line}" is no model id`);
  if (parseCatalog(text).models.has(entry.spec.model)) return text;
  const end = text === '' || text.endsWith('\n') ? '' : '\n';
  return `${text}${end}${line}\n`;
}

/** The list without every line of this model. */
export function withoutModel(text: string, model: string): string {
  const gone = new Set(
    parseCatalog(text)
      .entries.filter(({ spec }) => spec.model === model)
      .map(({ line }) => line),
  );
  if (gone.size === 0) throw new CommandError(`${model} is not in the list.`);
  return text
    .split('\n')
    .filter((_, index) => !gone.has(index + 1))
    .join('\n');
}

export const modelsCommand: Command = {
  summary: 'List, add or remove supported models',
  usage: `kubembed models list|add|remove [ID [OPTION=VALUE …]] [--file supported_models.txt] [--json]

  list             the ids, and lines that are wrong
  add ID [k=v …]   appends a line; a running local mode follows at once
  remove ID        takes its lines away`,
  options: OPTIONS,
  async run(args, io) {
    const { positionals, text, flag } = parse(args, OPTIONS);
    const [action = 'list', ...words] = positionals;
    const file = text('file') ?? io.env['KUBEMBED_SUPPORTED_MODELS'] ?? 'supported_models.txt';
    const list = await readList(file);
    if (action === 'list') {
      const { entries, faults } = parseCatalog(list);
      const ids = entries.map(({ spec }) => spec.model);
      io.write(flag('json') ? `${JSON.stringify(ids)}\n` : ids.map((id) => `${id}\n`).join(''));
      for (const { line, message } of faults) io.writeError(`${file}:${line}: ${message}\n`);
      return faults.length === 0 ? 0 : 1;
    }
    const [id] = words;
    if (id === undefined) throw new UsageError(`models ${action}: give a Hugging Face id`);
    const edits: Readonly<Record<string, () => string>> = {
      add: () => withModel(list, words.join(' ')),
      remove: () => withoutModel(list, id),
    };
    const edit = Object.hasOwn(edits, action) ? edits[action] : undefined;
    if (edit === undefined) throw new UsageError(`models: "${action}" is none of list, add, remove`);
    await writeFile(file, edit());
    return 0;
  },
};
