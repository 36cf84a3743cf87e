// `kubembed models`: the list of supported models, what one would take to serve, and the store they lie in.
import { writeFile } from 'node:fs/promises';
import { parseCatalog } from '../../api/catalog.ts';
import { parse, UsageError } from '../command.ts';
import type { CliIo, Command, Group } from '../command.ts';
import { FILE_OPTION, listFile, readList, withModel, withoutModel } from '../models/list-file.ts';
import { checkCommand } from './models-check.ts';
import { verifyCommand } from './models-verify.ts';

const OPTIONS = { ...FILE_OPTION, json: { type: 'boolean' } } as const;

const listCommand: Command = {
  summary: 'List the supported models',
  usage: `kubembed models list [--file supported_models.txt] [--json]

Prints the ids; lines that are wrong go to standard error, and make the exit code 1.`,
  options: OPTIONS,
  async run(args, io) {
    const { text, flag } = parse(args, OPTIONS);
    const file = listFile(text, io.env);
    const { entries, faults } = parseCatalog(await readList(file));
    const ids = entries.map(({ spec }) => spec.model);
    io.write(flag('json') ? `${JSON.stringify(ids)}\n` : ids.map((id) => `${id}\n`).join(''));
    for (const { line, message } of faults) io.writeError(`${file}:${line}: ${message}\n`);
    return faults.length === 0 ? 0 : 1;
  },
};

type Edit = (list: string, words: readonly string[]) => string;

async function editList(args: readonly string[], io: CliIo, edit: Edit): Promise<number> {
  const { positionals, text, flag } = parse(args, OPTIONS);
  if (positionals.length === 0) throw new UsageError('Give a Hugging Face id.');
  const file = listFile(text, io.env);
  const before = await readList(file);
  const after = edit(before, positionals);
  const changed = after !== before;
  if (changed) await writeFile(file, after);
  const models = [...parseCatalog(after).models];
  if (flag('json')) io.write(`${JSON.stringify({ file, changed, models })}\n`);
  else io.writeError(`${changed ? 'Changed' : 'Nothing to change in'} ${file}: ${models.length} models.\n`);
  return 0;
}

const addCommand: Command = {
  summary: 'Add a model to the list',
  usage: `kubembed models add ID [OPTION=VALUE …] [--file supported_models.txt] [--json]

Appends a line, e.g. "BAAI/bge-small-en-v1.5 pooling=cls alias=text-embedding-3-small". A running local mode follows at once.`,
  options: OPTIONS,
  run: async (args, io) => await editList(args, io, (list, words) => withModel(list, words.join(' '))),
};

const removeCommand: Command = {
  summary: 'Remove models from the list',
  usage: `kubembed models remove ID … [--file supported_models.txt] [--json]

Takes their lines away; everything else in the file stays as it is.`,
  options: OPTIONS,
  run: async (args, io) => await editList(args, io, (list, ids) => ids.reduce(withoutModel, list)),
};

export const modelsGroup: Group = {
  summary: 'List, edit, check and verify models',
  commands: { list: listCommand, add: addCommand, remove: removeCommand, check: checkCommand, verify: verifyCommand },
  preset: 'list',
};
