// The 404 for a name that nobody serves, or nobody whom the caller may see: the nearest names there are, and how a name comes to be.
import { foldName } from '../../api/names.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import { fullBucket, take } from '../../common/util/pacing.ts';
import { clip } from '../../common/util/text.ts';
import type { Caller } from '../auth/limits.ts';
import type { RouteTable } from './table.ts';

const SHOWN = 5;
/** Names that are compared, and letters of each. */
const MAX_NAMES = 2000;
const MAX_LETTERS = 96;
/** How often names are compared, which takes some milliseconds where there are thousands: a client chooses how often it asks. */
const COMPARISONS = { burst: 20, perMs: 5 / 1000 };

const pairsOf = (text: string): ReadonlySet<string> => {
  const folded = foldName(text.slice(0, MAX_LETTERS));
  return new Set(Array.from({ length: Math.max(1, folded.length - 1) }, (_, at) => folded.slice(at, at + 2)));
};

/** Those that share most pairs of letters with it first; equals in their own order. */
export const nearest = (name: string, names: readonly string[], count: number): readonly string[] => {
  const asked = pairsOf(name);
  const likeness = (other: string): number => {
    const pairs = pairsOf(other);
    let shared = 0;
    for (const pair of pairs) shared += Number(asked.has(pair));
    return shared / (asked.size + pairs.size);
  };
  return names
    .map((one) => ({ one, likeness: likeness(one) }))
    .toSorted((a, b) => b.likeness - a.likeness)
    .slice(0, count)
    .map(({ one }) => one);
};

const listed = (name: string, names: readonly string[]): string => {
  if (names.length === 0) return 'There are no models here yet.';
  const shown = nearest(name, names, SHOWN).map((one) => `\`${one}\``);
  const more = names.length > shown.length ? ' and more' : '';
  return `Models here are ${shown.join(', ')}${more} (GET /v1/models).`;
};

const HOW =
  'To add one, put its Hugging Face id in supported_models.txt; an alias for an OpenAI name is `sentence-transformers/all-MiniLM-L6-v2 alias=text-embedding-3-small` there, or a name in servedNames of an EmbeddingModel.';

const namesFor = ({ byName }: RouteTable, caller: Caller): readonly string[] => {
  const names: string[] = [];
  for (const [one, served] of byName) {
    if (names.length === MAX_NAMES) break;
    if (caller.mayUse(served)) names.push(one);
  }
  return names;
};

/** The same words whether the name is served to others or to nobody. */
export type UnknownModel = (name: string, table: RouteTable, caller: Caller) => OpenAIError;

export const createUnknownModel = (now: () => number): UnknownModel => {
  let bucket = fullBucket(COMPARISONS, now());
  return (name, table, caller) => {
    const left = take(COMPARISONS, bucket, 1, now());
    bucket = left ?? bucket;
    const here = left === undefined ? 'GET /v1/models lists those there are.' : listed(name, namesFor(table, caller));
    const message = `The model \`${clip(name)}\` does not exist or you do not have access to it. ${here} ${HOW}`;
    return new OpenAIError('model_not_found', message);
  };
};
