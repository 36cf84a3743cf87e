// How much of a long text is tokenised: a growing part from the end that is kept, large parts one after the other.
import pLimit from 'p-limit';

export interface Tokens {
  readonly ids: Int32Array;
  /** Tokens before the cut; a lower bound for texts too long to be read to their end. */
  readonly untruncated: number;
}

/** Which end of a text is lost when it is too long. */
export type CutAt = 'start' | 'end';

/** Tokens of a text, or of the part of one that is kept, with the cut applied. */
export type Encode = (text: string, cutAt: CutAt) => Promise<Tokens>;

/** Characters looked at first, per token of the limit: four times what English needs. */
const FIRST_LOOK = 16;
/** Characters looked at in all, per token of the limit; and for models of many tokens, where a text's tokens take a hundred times its size. */
const MAX_LOOK = 256;
const MAX_LOOK_CHARACTERS = 1 << 20;
/** Larger parts of texts are tokenised one after the other, so that one has its tokens in memory at a time. */
const LARGE_PART = 1 << 18;
/** Tokens beyond the limit that the part looked at must give: the cut may change the last word of that part. */
const MARGIN = 64;

const isHighSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xd800;

/** The first `length` units of a text, never half a character. */
const beginning = (text: string, length: number): string =>
  text.slice(0, isHighSurrogate(text.charCodeAt(length - 1)) ? length - 1 : length);

const isLowSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xdc00;

/** The last `length` units of a text, likewise. */
function ending(text: string, length: number): string {
  const from = text.length - length;
  return text.slice(isLowSurrogate(text.charCodeAt(from)) ? from + 1 : from);
}

export const partOf = (text: string, length: number, cutAt: CutAt): string =>
  cutAt === 'end' ? beginning(text, length) : ending(text, length);

/**
 * Looks at a growing part of the text, from the end that is kept, until it gives clearly more tokens than the model takes: what follows can then
 * not change the result, and a megabyte costs no more than a page. Words of thousands of characters are looked at up to
 * `MAX_LOOK`; what is beyond that is ignored.
 */
export function lookingAtBeginning(
  encode: Encode,
  maxTokens: number,
  maxCharacters: number = MAX_LOOK_CHARACTERS,
): Encode {
  const last = Math.max(maxTokens * FIRST_LOOK, Math.min(maxTokens * MAX_LOOK, maxCharacters));
  return async (text, cutAt) => {
    for (let length = maxTokens * FIRST_LOOK; length < text.length; length *= 4) {
      const tokens = await encode(partOf(text, Math.min(length, last), cutAt), cutAt);
      if (tokens.untruncated >= maxTokens + MARGIN || length >= last) return tokens;
    }
    return await encode(text.length > last ? partOf(text, last, cutAt) : text, cutAt);
  };
}

/** Parts of more than `size` characters wait for each other; the others for nobody. */
export function oneLargeAtATime(encode: Encode, size: number = LARGE_PART): Encode {
  const oneByOne = pLimit(1);
  return (text, cutAt) => (text.length <= size ? encode(text, cutAt) : oneByOne(() => encode(text, cutAt)));
}
