// How a parsed embedding request crosses a thread border: token ids packed in one buffer, which is moved and not copied.
import type { ErrorKind } from '../openai/errors.ts';
import { OpenAIError } from '../openai/errors.ts';
import type { EmbeddingRequest } from '../openai/request.ts';

interface PackedIds {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
}

export interface PackedRequest {
  readonly request: Omit<EmbeddingRequest, 'inputs'>;
  readonly inputs: readonly string[] | PackedIds;
}

export type ParseReply =
  | { readonly packed: PackedRequest }
  | { readonly refusal: { readonly kind: ErrorKind; readonly message: string; readonly param: string | null } };

export function packRequest({ inputs, ...request }: EmbeddingRequest): PackedRequest {
  if (typeof inputs[0] === 'string') return { request, inputs: inputs as readonly string[] };
  const lists = inputs as readonly (readonly number[])[];
  const lengths = Int32Array.from(lists, (list) => list.length);
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    ids.set(list, at);
    at += list.length;
  }
  return { request, inputs: { ids, lengths } };
}

// Ids turned back into arrays between two turns of the event loop: about a millisecond's worth.
const IDS_A_TURN = 100_000;

export async function unpackRequest(
  { request, inputs }: PackedRequest,
  turn: () => Promise<void>,
): Promise<EmbeddingRequest> {
  if (!('ids' in inputs)) return { ...request, inputs };
  const lists: number[][] = [];
  let at = 0;
  let since = 0;
  for (const length of inputs.lengths) {
    lists.push(toArray(inputs.ids, at, length));
    at += length;
    since += length;
    if (since < IDS_A_TURN) continue;
    since = 0;
    await turn();
  }
  return { ...request, inputs: lists };
}

// Several times faster than Array.from, which goes through the iterator.
function toArray(ids: Int32Array, from: number, length: number): number[] {
  const list = new Array<number>(length);
  for (let at = 0; at < length; at += 1) list[at] = ids[from + at] ?? 0;
  return list;
}

export function refusalOf(error: OpenAIError): ParseReply {
  return { refusal: { kind: error.kind, message: error.message, param: error.param } };
}

export function errorOf({
  kind,
  message,
  param,
}: {
  kind: ErrorKind;
  message: string;
  param: string | null;
}): OpenAIError {
  return new OpenAIError(kind, message, param === null ? {} : { param });
}
