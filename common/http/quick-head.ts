// Recognises the head of a plain small POST in a connection's bytes. Whatever is not plainly one is left to Node's parser to judge.
import type { IncomingHttpHeaders } from 'node:http';
import { TRACEPARENT, TRACESTATE } from '../obs/trace.ts';
import { createNameTable, eachHeader } from './header-names.ts';
import { OF_REQUESTS } from './headers.ts';

export interface QuickHead {
  readonly path: string;
  /** Those that mean something here. */
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
const END = '\r\n\r\n';
/** ASCII without control characters, every line ended by CR LF, no line continued by the next. */
const HEAD = /^POST (\/[\w/]*) HTTP\/1\.1\r\n(?:[\w-]+:[\t\x20-\x7e]*\r\n)+$/;
const LENGTH = /^(?:0|[1-9]\d{0,8})$/;
const KEEP_ALIVE = /^keep-alive$/i;

/** They change how a request is framed or answered. */
const SPECIAL: ReadonlySet<string> = new Set(['transfer-encoding', 'upgrade', 'expect', 'trailer', 'te']);
const USED = ['host', 'connection', 'content-type', 'content-encoding', 'content-length', 'authorization'];
const nameOf = createNameTable([...SPECIAL, ...USED, ...OF_REQUESTS, 'cache-control', TRACEPARENT, TRACESTATE]);

/** Those that mean something here; nothing when one of them is special or comes twice: that is not decided here. */
const readHeaders = (text: string, from: number): IncomingHttpHeaders | undefined => {
  const headers: Record<string, string> = {};
  let odd = 0;
  eachHeader(text, from, nameOf, (name, value) => {
    if (headers[name] !== undefined || SPECIAL.has(name)) odd += 1;
    headers[name] = value;
  });
  const { host, connection } = headers;
  if (odd > 0 || host === undefined) return undefined;
  return connection === undefined || KEEP_ALIVE.test(connection) ? headers : undefined;
};

export const recogniseHead = (bytes: Buffer, { paths, maxBodyBytes }: QuickLimits): QuickHead | undefined => {
  const end = bytes.indexOf(END, 0, 'latin1');
  if (end === -1 || end > MAX_HEAD) return undefined;
  const text = bytes.toString('latin1', 0, end + 2);
  const path = HEAD.exec(text)?.[1];
  if (path === undefined || !paths.has(path)) return undefined;
  const headers = readHeaders(text, text.indexOf('\r\n') + 2);
  const length = headers?.['content-length'];
  if (headers === undefined || length === undefined || !LENGTH.test(length)) return undefined;
  const bodyBytes = Number(length);
  return bodyBytes > maxBodyBytes ? undefined : { path, headers, bodyAt: end + END.length, bodyBytes };
};
