// WordPiece for plain English-like text, without a thread: for a short text the way to one and back takes longer than the work.

/** Special tokens around every text. */
export interface Frame {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
}

/** What matters here of a tokenizer.json. */
export interface TokenizerFile {
  readonly normalizer?: { readonly type?: string; readonly lowercase?: boolean } | null;
  readonly pre_tokenizer?: { readonly type?: string } | null;
  readonly added_tokens?: readonly { readonly content: string }[];
  readonly model?: {
    readonly type?: string;
    readonly unk_token?: string;
    readonly continuing_subword_prefix?: string;
    readonly max_input_chars_per_word?: number;
  };
}

/** The ids of a text in its frame, as the Rust tokenizers give them; nothing for a text that is not plain. */
export type PlainEncode = (text: string) => Int32Array | undefined;

/** What takes longer would keep the event loop from others: the time goes with the square of a word's length. */
const MAX_TEXT = 2048;
const MAX_WORD = 32;
const MAX_LOOKUPS = 512;
/** Beyond ASCII the normalizer changes more than case. */
const PLAIN = /^[\t\n\r\x20-\x7e]*$/;
/** BERT's: letters and digits together, every other character alone. */
const WORD = /[a-zA-Z0-9]+|[!-/:-@[-`{-~]/g;

/** The whole vocabulary stays with the tokenizer; most texts are of these. */
const MAX_KEPT_WORDS = 4096;
/** V8 lets a longer part of a text hold on to all of it. */
const MAX_KEPT_WORD = 12;

/** The id of a piece of a word; nothing when there is no such piece. */
export type IdOf = (piece: string) => number | null;

interface Pieces {
  readonly idOf: IdOf;
  readonly unknown: number;
  readonly continuing: string;
  readonly longestWord: number;
}

function piecesOf({ model }: TokenizerFile, idOf: IdOf): Pieces | undefined {
  if (model?.type !== 'WordPiece') return undefined;
  const unknown = idOf(model.unk_token ?? '[UNK]');
  if (unknown === null) return undefined;
  const { continuing_subword_prefix: continuing = '##', max_input_chars_per_word: longestWord = 100 } = model;
  return { idOf, unknown, continuing, longestWord };
}

/** The longest pieces from the left; with one that is unknown the whole word is. */
function idsOfWord(word: string, { idOf, unknown, continuing, longestWord }: Pieces): readonly number[] {
  if (word.length > longestWord) return [unknown];
  const ids: number[] = [];
  for (let start = 0, end = word.length; start < word.length;) {
    const piece = word.slice(start, end);
    if (piece === '') return [unknown];
    const id = idOf(start === 0 ? piece : continuing + piece);
    if (id === null) {
      end--;
    } else {
      ids.push(id);
      start = end;
      end = word.length;
    }
  }
  return ids;
}

function keepingWords(look: (word: string) => readonly number[]): typeof look {
  const kept = new Map<string, readonly number[]>();
  return (word) => {
    const known = kept.get(word);
    if (known !== undefined) return known;
    const ids = look(word);
    if (kept.size >= MAX_KEPT_WORDS) kept.clear();
    if (word.length <= MAX_KEPT_WORD) kept.set(word, ids);
    return ids;
  };
}

/** @returns nothing for a tokenizer of another kind than BERT's. */
export function createPlainEncode(file: TokenizerFile, frame: Frame, idOf: IdOf): PlainEncode | undefined {
  const { normalizer, pre_tokenizer: words, added_tokens: added = [] } = file;
  let lookups = 0;
  const pieces = piecesOf(file, (piece) => {
    lookups++;
    return idOf(piece);
  });
  if (pieces === undefined || normalizer?.type !== 'BertNormalizer' || words?.type !== 'BertPreTokenizer') {
    return undefined;
  }
  const lowercase = normalizer.lowercase ?? true;
  // In whatever case: what comes near a special token is not decided here.
  const names = added.map(({ content }) => RegExp.escape(content)).join('|');
  const special = names === '' ? undefined : new RegExp(names, 'i');

  const look = keepingWords((word) => idsOfWord(word, pieces));
  return (text) => {
    if (text.length > MAX_TEXT || !PLAIN.test(text) || special?.test(text) === true) return undefined;
    lookups = 0;
    const ids: number[] = [...frame.prefix];
    for (const word of (lowercase ? text.toLowerCase() : text).match(WORD) ?? []) {
      if (word.length > MAX_WORD || lookups > MAX_LOOKUPS) return undefined;
      for (const id of look(word)) ids.push(id);
    }
    for (const id of frame.suffix) ids.push(id);
    return new Int32Array(ids);
  };
}
