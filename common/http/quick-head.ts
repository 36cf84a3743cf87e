// Recognises the head of a plain small POST in a connection's bytes. Whatever is not plainly one is left to Node's parser to judge.
import type { IncomingHttpHeaders } from 'node:http';

export interface QuickHead {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Where the body begins, and how long it is. */
  readonly bodyAt: number;
  readonly bodyBytes: number;
}

export interface QuickLimits {
  readonly paths: ReadonlySet<string>;
  readonly maxBodyBytes: number;
}

/** Node's own limit. */
const MAX_HEAD = 16 * 1024;
const REQUEST_LINE = /^POST (\/[\w/]*) HTTP\/1\.1$/;
const NAME = /^[\w-]+$/;
/** A line break that is not CR LF, a control character, or anything beyond ASCII. */
const UNPLAIN = /[^\t\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n/;
const LENGTH = /^(?:0|[1-9]\d{0,8})$/;
/** Headers that change how a request is framed or answered. */
const SPECIAL = ['transfer-encoding', 'upgrade', 'expect', 'trailer', 'te'] as const;

const isPlain = (headers: IncomingHttpHeaders): boolean =>
  headers.host !== undefined &&
  SPECIAL.every((name) => headers[name] === undefined) &&
  (headers.connection === undefined || headers.connection.toLowerCase() === 'keep-alive');

/** Nothing when a line is not plain or a name comes twice: what that means is not decided here. */
const readHeaders = (text: string, from: number): IncomingHttpHeaders | undefined => {
  const headers: Record<string, string> = {};
  for (let at = from; at < text.length;) {
    const found = text.indexOf('\r\n', at);
    const end = found === -1 ? text.length : found;
    const colon = text.indexOf(':', at);
    if (colon === -1 || colon > end) return undefined;
    const name = text.slice(at, colon).toLowerCase();
    if (!NAME.test(name) || headers[name] !== undefined) return undefined;
    headers[name] = text.slice(colon + 1, end).trim();
    at = end + 2;
  }
  return headers;
};

export const recogniseHead = (bytes: Buffer, { paths, maxBodyBytes }: QuickLimits): QuickHead | undefined => {
  const end = bytes.indexOf('\r\n\r\n', 0, 'latin1');
  if (end === -1 || end > MAX_HEAD) return undefined;
  const text = bytes.toString('latin1', 0, end);
  const lineEnd = text.indexOf('\r\n');
  const path = REQUEST_LINE.exec(text.slice(0, Math.max(0, lineEnd)))?.[1];
  if (path === undefined || !paths.has(path) || UNPLAIN.test(text)) return undefined;
  const headers = readHeaders(text, lineEnd + 2);
  if (headers === undefined || !isPlain(headers)) return undefined;
  const length = headers['content-length'];
  if (length === undefined || !LENGTH.test(length) || Number(length) > maxBodyBytes) return undefined;
  return { path, headers, bodyAt: end + 4, bodyBytes: Number(length) };
};
