// Checks the models on disk: node tools/models.ts check [ID…] [--store DIR] [--repair]. Exit code 1 when something is damaged or missing.
import { homedir } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { locateStore } from '../runtime/model/store-paths.ts';
import { checkModel, dropDamaged, listModels } from '../runtime/model/verify-store.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { store: { type: 'string' }, repair: { type: 'boolean' } },
});
const [command, ...ids] = positionals;
if (command !== 'check') {
  console.error('usage: node tools/models.ts check [ID…] [--store DIR] [--repair]');
  process.exit(2);
}

const { KUBEMBED_STORE, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
const store =
  values.store ??
  locateStore({
    kubembedStore: KUBEMBED_STORE,
    hfHubCache: HF_HUB_CACHE,
    hfHome: HF_HOME,
    xdgCacheHome: XDG_CACHE_HOME,
    home: homedir(),
  });

let bad = 0;
for (const modelId of ids.length > 0 ? ids : await listModels(store)) {
  for await (const verdict of checkModel(store, modelId)) {
    const isBad = verdict.state === 'damaged' || verdict.state === 'missing';
    bad += isBad ? 1 : 0;
    console.log(`${verdict.state.padEnd(8)} ${modelId}@${verdict.revision.slice(0, 8)} ${verdict.name}`);
    if (values.repair === true) await dropDamaged(verdict);
  }
}
if (bad > 0) {
  const next = values.repair === true ? 'Dropped; the next fetch brings them anew.' : 'Run again with --repair.';
  console.error(`${bad} of the files in ${store} are damaged or missing. ${next}`);
  process.exitCode = 1;
}
