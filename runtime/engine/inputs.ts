// The inputs of a request before they are tokenised: distinct ones, token ids checked, lengths estimated. Pure.
import { EngineError } from './errors.ts';
import type { EmbedRequest, EngineInput } from './types.ts';

export interface DistinctInputs {
  readonly inputs: readonly EngineInput[];
  /** For each input of the request, its place among the distinct ones. */
  readonly places: readonly number[];
}

/** FNV-1a over the ids: a text key for each list would hold the event loop for tens of milliseconds. */
function hashOf(ids: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const id of ids) hash = Math.imul(hash ^ id, 0x01000193);
  return hash;
}

const sameIds = (a: EngineInput | undefined, b: readonly number[]): boolean =>
  typeof a === 'object' && a.length === b.length && a.every((id, index) => id === b[index]);

export function distinctInputs(inputs: readonly EngineInput[]): DistinctInputs {
  const distinct: EngineInput[] = [];
  const texts = new Map<string, number>();
  const lists = new Map<number, number[]>();
  const placeOfText = (text: string): number => {
    const known = texts.get(text);
    if (known !== undefined) return known;
    texts.set(text, distinct.length);
    return distinct.push(text) - 1;
  };
  const placeOfList = (ids: readonly number[]): number => {
    const hash = hashOf(ids);
    const candidates = lists.get(hash) ?? [];
    const known = candidates.find((place) => sameIds(distinct[place], ids));
    if (known !== undefined) return known;
    lists.set(hash, [...candidates, distinct.length]);
    return distinct.push(ids) - 1;
  };
  const places = inputs.map((input) => (typeof input === 'string' ? placeOfText(input) : placeOfList(input)));
  return { inputs: distinct, places };
}

export interface TokenLimits {
  readonly maxTokens: number;
  readonly vocabularySize: number;
  /** Kept when a list of ids is cut and ends with it. */
  readonly finalToken: number | undefined;
}

function checkIds(ids: readonly number[], input: number, vocabularySize: number): void {
  if (ids.length === 0) throw new EngineError('empty_input', `Input ${input} holds no tokens.`, { input });
  const tokenPosition = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
  if (tokenPosition < 0) return;
  const tokenId = ids[tokenPosition] ?? NaN;
  throw new EngineError(
    'token_out_of_range',
    `Token ${tokenId} at position ${tokenPosition} of input ${input} is outside of the model's vocabulary of ${vocabularySize} tokens.`,
    { input, tokenId, tokenPosition, vocabularySize },
  );
}

/** Refuses what no scheduling can help; token lists only, texts are known once they are tokenised. */
export function checkTokenLists(inputs: readonly EngineInput[], limits: TokenLimits): void {
  for (const [input, value] of inputs.entries()) {
    if (typeof value !== 'string') checkIds(value, input, limits.vocabularySize);
  }
}

export function refuseOverlong(request: Pick<EmbedRequest, 'overlongInput'>, tokens: number, at: Overlong): void {
  if (request.overlongInput !== 'error' || tokens <= at.maxTokens) return;
  throw new EngineError(
    'context_length',
    `Input ${at.input} has ${tokens} tokens; the model takes at most ${at.maxTokens}.`,
    { input: at.input, tokens, maxTokens: at.maxTokens },
  );
}

interface Overlong {
  readonly input: number;
  readonly maxTokens: number;
}

/** Token ids as given, cut to the limit; a final special token stays final. */
export function cutTokenList(ids: readonly number[], { maxTokens, finalToken }: TokenLimits): Int32Array {
  const cut = Int32Array.from(ids.slice(0, maxTokens));
  if (ids.length > maxTokens && finalToken !== undefined && ids.at(-1) === finalToken) cut[maxTokens - 1] = finalToken;
  return cut;
}

/** English has four to five characters a token; what is too high is corrected as soon as the text is tokenised. */
const CHARACTERS_PER_TOKEN = 4;
const SPECIAL_TOKENS = 2;

export const estimateTokens = (input: EngineInput, maxTokens: number): number =>
  Math.min(
    maxTokens,
    typeof input === 'string' ? Math.ceil(input.length / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS : input.length,
  );
