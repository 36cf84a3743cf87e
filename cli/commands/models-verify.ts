// `kubembed models verify`: every file of the store against its recorded hash.
import { checkModel, dropDamaged, listModels } from '../../hub/verify.ts';
import type { FileCheck } from '../../hub/verify.ts';
import { parse } from '../command.ts';
import type { Command } from '../command.ts';
import { storeFolder } from '../models/environment.ts';
import { painter } from '../style.ts';
import type { Style } from '../style.ts';

const OPTIONS = {
  store: { type: 'string' },
  repair: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

const STYLES: Readonly<Record<FileCheck['state'], Style>> = {
  intact: 'green',
  unproven: 'yellow',
  damaged: 'red',
  missing: 'red',
};

const isBad = ({ state }: FileCheck): boolean => state === 'damaged' || state === 'missing';

export const verifyCommand: Command = {
  summary: 'Check the models on disk against their hashes',
  usage: `kubembed models verify [ID …] [--store DIR] [--repair] [--json]

Reads every file of the store (all models, unless named) and compares it with the hash that the hub gave.
With --repair damaged files are dropped, so that the next fetch brings them anew.
Exit code 1 when something is damaged or missing.`,
  options: OPTIONS,
  async run(args, io) {
    const { positionals, text, flag } = parse(args, OPTIONS);
    const store = storeFolder(text('store'), io.env);
    const paint = painter(io.output.colour);
    const show = (verdict: FileCheck): string =>
      flag('json')
        ? JSON.stringify(verdict)
        : `${paint(STYLES[verdict.state], verdict.state.padEnd(8))} ${verdict.modelId}@${verdict.revision.slice(0, 8)} ${verdict.name}`;
    let seen = 0;
    let bad = 0;
    for (const modelId of positionals.length > 0 ? positionals : await listModels(store)) {
      for await (const verdict of checkModel(store, modelId)) {
        io.signal.throwIfAborted();
        seen += 1;
        bad += isBad(verdict) ? 1 : 0;
        io.write(`${show(verdict)}\n`);
        if (flag('repair')) await dropDamaged(verdict);
      }
    }
    if (seen === 0) {
      io.writeError(`Nothing of ${positionals.join(', ') || 'any model'} is in ${store}.\n`);
      return positionals.length > 0 ? 1 : 0;
    }
    const next = flag('repair') ? 'Dropped; the next fetch brings them anew.' : 'Run again with --repair.';
    if (bad > 0) io.writeError(`${bad} of the files in ${store} are damaged or missing. ${next}\n`);
    return bad > 0 ? 1 : 0;
  },
};
