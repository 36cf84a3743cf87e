// Joining the responses of shards into one, by cutting their bytes: vectors are neither parsed nor printed again. Pure.
import { Buffer } from 'node:buffer';

/** What a runtime writes: `{"object":"list","data":[{"object":"embedding","index":0,"embedding":…},…],"model":…,"usage":…}`. */
const HEAD = Buffer.from('{"object":"list","data":[');
const ITEM = Buffer.from('{"object":"embedding","index":');
const AFTER_INDEX = Buffer.from(',"embedding":');
const TAIL = Buffer.from('],"model":');
const COMMA = Buffer.from(',');

interface Usage {
  readonly prompt_tokens: number;
  readonly total_tokens: number;
}

interface Tail {
  readonly model: string;
  readonly usage: Usage;
}

interface Item {
  readonly object: string;
  readonly index: number;
}

const isTail = (value: unknown): value is Tail =>
  typeof value === 'object' && value !== null && 'model' in value && 'usage' in value;

const readTail = (response: Buffer, at: number): Tail | undefined => {
  try {
    const value: unknown = JSON.parse(`{${response.toString('utf8', at + 2)}`);
    return isTail(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const holds = (response: Buffer, at: number, bytes: Buffer): boolean =>
  response.subarray(at, at + bytes.length).equals(bytes);

/** Slices of one response's items with their indexes moved by `offset`; nothing when the layout is not the expected one. */
const cutItems = (response: Buffer, end: number, offset: number): readonly Buffer[] | undefined => {
  const pieces: Buffer[] = [];
  let at = HEAD.length;
  for (let index = 0; at < end; index += 1) {
    const digits = Buffer.from(String(index));
    const afterIndex = at + ITEM.length + digits.length;
    const expected =
      holds(response, at, ITEM) &&
      holds(response, at + ITEM.length, digits) &&
      holds(response, afterIndex, AFTER_INDEX);
    if (!expected) return undefined;
    // A vector holds no such bytes: neither numbers nor base64 contain a brace.
    const next = response.indexOf(ITEM, afterIndex);
    const stop = next === -1 || next > end ? end : next;
    // The slice ends with the comma before the next item.
    pieces.push(Buffer.from(`{"object":"embedding","index":${index + offset}`), response.subarray(afterIndex, stop));
    at = stop;
  }
  return pieces;
};

interface Part {
  readonly items: readonly Buffer[];
  readonly tail: Tail;
}

const cut = (response: Buffer, offset: number): Part | undefined => {
  if (response.indexOf(HEAD) !== 0) return undefined;
  const end = response.lastIndexOf(TAIL);
  const tail = end === -1 ? undefined : readTail(response, end);
  const items = tail === undefined ? undefined : cutItems(response, end, offset);
  return tail !== undefined && items !== undefined ? { items, tail } : undefined;
};

/** The slow way, for a response that is right but laid out otherwise. */
const reprint = (response: Buffer, offset: number): Part => {
  const whole = JSON.parse(response.toString('utf8')) as Tail & { readonly data: readonly Item[] };
  const items = whole.data.map((item) => ({ ...item, index: item.index + offset }));
  return { items: [Buffer.from(JSON.stringify(items).slice(1, -1))], tail: whole };
};

const joinItems = (parts: readonly Part[]): readonly Buffer[] =>
  parts.flatMap(({ items }, at) => (at === 0 ? items : [COMMA, ...items]));

export interface ShardResponse {
  readonly body: Buffer;
  /** Index of the shard's first input in the whole request. */
  readonly offset: number;
}

/** Chunks of the merged response, in order. Throws when a shard's body is not an embedding response at all. */
export const mergeResponses = (shards: readonly ShardResponse[]): readonly Buffer[] => {
  const parts = shards.map(({ body, offset }) => cut(body, offset) ?? reprint(body, offset));
  const sum = (of: (usage: Usage) => number): number => parts.reduce((total, { tail }) => total + of(tail.usage), 0);
  const tail: Tail = {
    model: parts[0]?.tail.model ?? '',
    usage: { prompt_tokens: sum((usage) => usage.prompt_tokens), total_tokens: sum((usage) => usage.total_tokens) },
  };
  return [HEAD, ...joinItems(parts), Buffer.from(`],${JSON.stringify(tail).slice(1)}`)];
};

/** `usage.prompt_tokens` of a response, read from its last bytes. */
export const promptTokensOf = (end: Buffer): number | undefined => {
  const found = /"prompt_tokens":\s*(\d+)[^[\]]*$/.exec(end.toString('latin1', Math.max(0, end.length - 512)));
  return found?.[1] === undefined ? undefined : Number(found[1]);
};
