// `kubembed models pack`: a model of the store as an OCI image, for clusters whose nodes are to keep it.
import { resourceNameOf } from '../../api/names.ts';
import { printBytes } from '../../common/util/text.ts';
import { openSnapshot } from '../../hub/store.ts';
import { chooseWeights } from '../../runtime/model/snapshot.ts';
import { CommandError, parse, UsageError } from '../command.ts';
import type { Command } from '../command.ts';
import { packImage } from '../image.ts';
import { storeFolder } from '../repository.ts';

const PACK_OPTIONS = {
  output: { type: 'string', short: 'o' },
  revision: { type: 'string' },
  store: { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const packCommand: Command = {
  summary: 'Pack a model of the store as an OCI image',
  usage: `kubembed models pack ID [--output FILE.tar] [--revision REV] [--store DIR] [--json]

Writes an OCI image layout as a tar file, and prints the image's digest. "skopeo copy oci-archive:FILE.tar docker://…"
brings it to a registry; spec.cache.image of an EmbeddingModel mounts it. The same weights give the same digest.
Fill the store first: npm start, or any tool of Hugging Face.`,
  options: PACK_OPTIONS,
  async run(args, io) {
    const { positionals, text, flag } = parse(args, PACK_OPTIONS);
    const [modelId, ...others] = positionals;
    if (modelId === undefined || others.length > 0) throw new UsageError('models pack: give one Hugging Face id.');
    const revision = text('revision') ?? 'main';
    const store = storeFolder(text('store'), io.env);
    const output = text('output') ?? `${resourceNameOf(modelId)}.tar`;
    const stored = await openSnapshot(store, modelId, revision, chooseWeights);
    if (stored === undefined)
      throw new CommandError(`${modelId} at ${revision} is not in the store ${store}, or not all of it.`);
    const commit = stored.revision;
    const { digest, bytes } = await packImage(store, { modelId, revision, commit }, output, io.signal);
    if (flag('json')) io.write(`${JSON.stringify({ file: output, model: modelId, digest, commit, bytes })}\n`);
    else io.write(`${output}: ${modelId} at ${commit}, ${printBytes(bytes)}\n${digest}\n`);
    return 0;
  },
};
