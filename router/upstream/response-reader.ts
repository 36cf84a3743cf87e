// Reads HTTP/1.1 responses out of a connection's bytes: strict about framing, since what follows a response is the next one's head.
import type { IncomingHttpHeaders } from 'node:http';
import { createNameTable, eachHeader } from '../../common/http/header-names.ts';
import { OF_ANSWERS } from '../../common/http/headers.ts';

export interface ResponseEvents {
  /** `length` is absent when the body says itself where it ends. */
  readonly onHead: (status: number, headers: IncomingHttpHeaders, length: number | undefined) => void;
  /** A view that is valid during the call alone. */
  readonly onBody: (bytes: Buffer) => void;
  /** The response is whole. */
  readonly onEnd: (mayReuse: boolean) => void;
}

export interface ResponseReader {
  /** A request was sent: its answer may come. */
  readonly expect: () => void;
  /** Throws `MalformedResponse`, also for bytes that nobody asked for. */
  readonly push: (bytes: Buffer) => void;
  /** The peer has ended: for some responses that is how they end. */
  readonly close: () => void;
}

export class MalformedResponse extends Error {
  override readonly name = 'MalformedResponse';
}

const MAX_HEAD = 64 * 1024;
const MAX_LINE = 1024;
const END_OF_HEAD = '\r\n\r\n';
const NOTHING = Buffer.alloc(0);

/** Status line and header lines: no control character, no line continued by the next. */
const HEAD =
  /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?:[!#$%&'*+\-.^_`|~\w]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;
const LENGTH = /^\d{1,15}$/;
const CHUNK_SIZE = /^([0-9a-f]{1,12})[ \t]*(?:;|$)/i;
const CLOSE = /\bclose\b/i;

type Framing =
  { readonly kind: 'length'; readonly length: number } | { readonly kind: 'chunked' } | { readonly kind: 'close' };

interface Head {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly framing: Framing;
  readonly mayReuse: boolean;
}

const nameOf = createNameTable([
  ...['connection', 'content-length', 'content-type', 'transfer-encoding', 'retry-after', 'retry-after-ms'],
  ...OF_ANSWERS,
]);

const parseHeaders = (head: string): IncomingHttpHeaders => {
  const headers: Record<string, string> = {};
  eachHeader(head, head.indexOf('\r\n') + 2, nameOf, (name, value) => {
    const before = headers[name];
    if (before !== undefined && name === 'content-length' && before !== value) {
      throw new MalformedResponse('two lengths');
    }
    headers[name] = before === undefined || name === 'content-length' ? value : `${before}, ${value}`;
  });
  return headers;
};

const framingOf = (status: number, headers: IncomingHttpHeaders): Framing => {
  const { 'transfer-encoding': encoding, 'content-length': length } = headers;
  if (status < 200 || status === 204 || status === 304) return { kind: 'length', length: 0 };
  if (encoding !== undefined) {
    if (encoding.toLowerCase() !== 'chunked' || length !== undefined) throw new MalformedResponse('unknown framing');
    return { kind: 'chunked' };
  }
  if (length === undefined) return { kind: 'close' };
  if (!LENGTH.test(length)) throw new MalformedResponse('the length is malformed');
  return { kind: 'length', length: Number(length) };
};

const parseHead = (text: string): Head => {
  const match = HEAD.exec(text);
  if (match === null) throw new MalformedResponse('the head is malformed');
  const headers = parseHeaders(text);
  const status = Number(match[2]);
  const framing = framingOf(status, headers);
  const mayReuse = match[1] === '1' && framing.kind !== 'close' && !CLOSE.test(headers.connection ?? '');
  return { status, headers, framing, mayReuse };
};

/** What of a chunked body comes next. `line` is a size, a line end after data, or a trailer; `left` counts data. */
interface Chunks {
  expects: 'size' | 'data' | 'gap' | 'trailer';
  line: string;
  left: number;
}

type State = 'idle' | 'head' | 'length' | 'chunked' | 'close';

export const createResponseReader = ({ onHead, onBody, onEnd }: ResponseEvents): ResponseReader => {
  let state: State = 'idle';
  let head: Buffer = NOTHING;
  let left = 0;
  let mayReuse = false;
  let chunks: Chunks = { expects: 'size', line: '', left: 0 };

  const finish = (): void => {
    state = 'idle';
    onEnd(mayReuse);
  };

  const begin = (parsed: Head): void => {
    if (parsed.status < 200) return;
    const { framing } = parsed;
    mayReuse = parsed.mayReuse;
    state = framing.kind;
    left = framing.kind === 'length' ? framing.length : 0;
    chunks = { expects: 'size', line: '', left: 0 };
    onHead(parsed.status, parsed.headers, framing.kind === 'length' ? left : undefined);
    if (framing.kind === 'length' && left === 0) finish();
  };

  /** Each of these takes what it can use and returns where the rest begins. */
  const takeHead = (bytes: Buffer, from: number): number => {
    const seen = head.length;
    const all = seen === 0 ? bytes.subarray(from) : Buffer.concat([head, bytes.subarray(from)]);
    const end = all.indexOf(END_OF_HEAD, Math.max(0, seen - END_OF_HEAD.length), 'latin1');
    if ((end === -1 ? all.length : end) > MAX_HEAD) throw new MalformedResponse('the head is too large');
    if (end === -1) {
      head = Buffer.from(all);
      return bytes.length;
    }
    head = NOTHING;
    begin(parseHead(all.toString('latin1', 0, end + 2)));
    return from + end + END_OF_HEAD.length - seen;
  };

  const takeLength = (bytes: Buffer, from: number): number => {
    const to = Math.min(bytes.length, from + left);
    left -= to - from;
    onBody(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
    if (left === 0) finish();
    return to;
  };

  const endLine = (line: string): void => {
    if (chunks.expects === 'size') {
      const size = CHUNK_SIZE.exec(line)?.[1];
      if (size === undefined) throw new MalformedResponse('a chunk size is malformed');
      chunks.left = Number.parseInt(size, 16);
      chunks.expects = chunks.left === 0 ? 'trailer' : 'data';
    } else if (chunks.expects === 'gap') {
      if (line !== '') throw new MalformedResponse('a chunk is longer than it says');
      chunks.expects = 'size';
    } else if (line === '') finish();
  };

  const takeLine = (bytes: Buffer, from: number): number => {
    const end = bytes.indexOf('\n', from, 'latin1');
    const to = end === -1 ? bytes.length : end + 1;
    const line = chunks.line + bytes.toString('latin1', from, to);
    if (line.length > MAX_LINE) throw new MalformedResponse('a chunk line is too long');
    chunks.line = end === -1 ? line : '';
    if (end === -1) return to;
    if (!line.endsWith('\r\n')) throw new MalformedResponse('a chunk line is malformed');
    endLine(line.slice(0, -2));
    return to;
  };

  const takeChunked = (bytes: Buffer, from: number): number => {
    if (chunks.expects !== 'data') return takeLine(bytes, from);
    const to = Math.min(bytes.length, from + chunks.left);
    chunks.left -= to - from;
    if (chunks.left === 0) chunks.expects = 'gap';
    onBody(bytes.subarray(from, to));
    return to;
  };

  const takeRest = (bytes: Buffer, from: number): number => {
    onBody(bytes.subarray(from));
    return bytes.length;
  };

  const takeUnasked = (): number => {
    throw new MalformedResponse('bytes that nobody asked for');
  };

  const TAKE: Readonly<Record<State, (bytes: Buffer, from: number) => number>> = {
    idle: takeUnasked,
    head: takeHead,
    length: takeLength,
    chunked: takeChunked,
    close: takeRest,
  };

  return {
    expect: () => {
      state = 'head';
    },
    push: (bytes) => {
      for (let at = 0; at < bytes.length;) at = TAKE[state](bytes, at);
    },
    close: () => {
      if (state === 'close') finish();
    },
  };
};
