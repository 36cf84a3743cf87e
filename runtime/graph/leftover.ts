// What of a model's weights no part of the graph has read: heads that embeddings do not need, or a reason to refuse. Pure.
import { isRecord } from '../../common/util/text.ts';
import { unsupported } from '../model/description.ts';
import type { Config, ModelDescription } from '../model/description.ts';
import type { Architecture } from './ops.ts';

/** Tensors that lie behind the token vectors or are no weights, of every architecture; whatever prefix stands before them. */
const HEADS: readonly RegExp[] = [
  // BERT's pooler and pre-training heads, and their kin's.
  /^(?:\w+\.)?pooler\./,
  /^(?:cls|lm_head|lm_head_decoder|embed_out|predictions|sop_classifier|seq_relationship)\./,
  /^vocab_(?:transform|layer_norm|projector)\./,
  /^(?:discriminator_predictions|generator_predictions|generator_lm_head)\./,
  /^(?:lm_predictions|mask_predictions|deberta\.pooler|pooler)\./,
  // Numbers that follow from the settings.
  /(?:^|\.)(?:position_ids|token_type_ids|inv_freq|masked_bias)$/,
];

/** Heads of classes made to classify, where the repository itself uses the model for embeddings all the same. */
const CLASSIFIERS = /^(?:classifier|pre_classifier|score|qa_outputs|dense|out_proj|dropout)\./;
const CLASSIFYING =
  /For(?:SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|NextSentencePrediction)$/;

const isEmbedder = ({ pooling }: ModelDescription): boolean => pooling !== undefined;

/** Classes that judge texts instead of embedding them are served only where modules.json makes embeddings of them. */
export function requireEmbedder(description: ModelDescription): void {
  const { architecture } = description;
  if (!CLASSIFYING.test(architecture) || isEmbedder(description)) return;
  throw unsupported(
    `${architecture} classifies texts, as rerankers do, and the repository has no modules.json that makes vectors of it. Serve the model for embeddings that belongs to it.`,
  );
}

/** @throws ModelError: names a tensor that would change the vectors if it were read */
export function refuseLeftovers(
  unread: readonly string[],
  description: ModelDescription,
  architecture: Architecture,
): void {
  const { architecture: name } = description;
  const known = [...HEADS, ...(architecture.unused ?? [])];
  if (CLASSIFYING.test(name) && isEmbedder(description)) known.push(CLASSIFIERS);
  const [first, ...others] = unread.filter((tensor) => !known.some((head) => head.test(tensor)));
  if (first === undefined) return;
  const more = others.length > 0 ? ` and ${others.length} more` : '';
  throw unsupported(
    `The weights hold ${first}${more}, which ${name} as kubembed computes it does not use: its vectors would not be the repository's.`,
  );
}

interface CodePlace {
  readonly name: string;
  /** The repository that it lies in; undefined for the model's own. */
  readonly repository: string | undefined;
}

/** Where transformers would load a class from, of `repository--file.Class`. */
function codePlaceOf(reference: string): CodePlace {
  const at = reference.indexOf('--');
  const repository = at < 0 ? undefined : reference.slice(0, at);
  return { name: reference.split('.').at(-1) ?? '', repository };
}

/** The model's class and that of its settings, which may say anything as well. */
function ownClasses(config: Config): readonly (readonly [kind: string, CodePlace])[] {
  const map = config['auto_map'];
  if (!isRecord(map)) return [];
  return ['AutoModel', 'AutoConfig'].flatMap((kind) =>
    [map[kind]]
      .flat()
      .filter((reference) => typeof reference === 'string')
      .map((reference) => [kind, codePlaceOf(reference)] as const),
  );
}

/** A class of the repository's own may compute anything, whatever it and its tensors are called. */
export function requireKnownCode(config: Config, { ownCode }: Architecture, modelId: string): void {
  for (const [kind, { name, repository = modelId }] of ownClasses(config)) {
    const isKnown = kind === 'AutoConfig' || ownCode?.classes.includes(name) === true;
    if (isKnown && ownCode?.repositories.includes(repository) === true) continue;
    throw unsupported(
      `${name} is defined by code of ${repository} (auto_map in config.json), which kubembed does not run${isKnown ? ' and does not know' : ''}. Where that computes what ${isKnown ? `${name} of ${ownCode?.repositories[0] ?? 'transformers'}` : "one of transformers' own classes"} does, a copy of the repository without auto_map can be served.`,
    );
  }
}
