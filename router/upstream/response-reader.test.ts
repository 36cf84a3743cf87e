import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createResponseReader, MalformedResponse } from './response-reader.ts';

interface Seen {
  status: number;
  headers: Record<string, unknown>;
  body: string;
  reusable?: boolean;
}

/** Reads everything as answers to `requests` requests, in pieces that end at these places. */
const read = (bytes: Buffer, cuts: readonly number[] = [], requests = 1): Seen[] => {
  const seen: Seen[] = [];
  let left = requests;
  const reader = createResponseReader({
    onHead: (status, headers) => void seen.push({ status, headers, body: '' }),
    onBody: (view) => void (seen.at(-1)!.body += view.toString('latin1')),
    onEnd: (mayReuse) => {
      seen.at(-1)!.reusable = mayReuse;
      left -= 1;
      if (left > 0) reader.expect();
    },
  });
  reader.expect();
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  let from = 0;
  for (const to of [...ends, bytes.length]) {
    reader.push(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  reader.close();
  return seen;
};

const text = (...lines: readonly string[]): Buffer => Buffer.from(lines.join('\r\n'), 'latin1');

const chunked = (parts: readonly string[]): string =>
  `${parts.map((part) => `${part.length.toString(16)};x=y\r\n${part}\r\n`).join('')}0\r\nTrailer: 1\r\n\r\n`;

const body = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)),
  maxLength: 200,
});

describe('a response', () => {
  it('is the same however its bytes are cut and its body is framed, and the next one follows it', () => {
    fc.assert(
      fc.property(
        fc.array(
          body.filter((one) => one !== ''),
          { maxLength: 5 },
        ),
        fc.array(fc.nat()),
        (parts, cuts) => {
          const whole = parts.join('');
          const bytes = text(
            'HTTP/1.1 200 OK',
            `Content-Length: ${whole.length}`,
            'Retry-After: 1',
            'retry-after:  2 ',
            'x-other: 3',
            '',
            `${whole}HTTP/1.1 100 Continue`,
            '',
            'HTTP/1.1 201',
            'Transfer-Encoding: Chunked',
            '',
            `${chunked(parts)}HTTP/1.1 202 x`,
            '',
            whole,
          );
          expect(read(bytes, cuts, 3)).toEqual([
            {
              status: 200,
              headers: { 'content-length': String(whole.length), 'retry-after': '1, 2' },
              body: whole,
              reusable: true,
            },
            { status: 201, headers: { 'transfer-encoding': 'Chunked' }, body: whole, reusable: true },
            { status: 202, headers: {}, body: whole, reusable: false },
          ]);
        },
      ),
    );
  });

  it('whose end is missing does not end', () => {
    const cut = read(text('HTTP/1.1 200 OK', 'content-length: 5', '', '1234'));
    expect(cut).toMatchObject([{ body: '1234' }]);
    expect(cut[0]).not.toHaveProperty('reusable');
    expect(read(text('HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '4', '1234', ''))[0]).not.toHaveProperty(
      'reusable',
    );
  });

  it.each([
    ['HTTP/1.1 204 No Content', [], true],
    ['HTTP/1.1 200 OK', ['content-length: 0', 'connection: close'], false],
    ['HTTP/1.0 200 OK', ['content-length: 0'], false],
    ['HTTP/1.1 200 OK', ['content-length: 0', 'Content-Length: 0'], true],
  ])('%s with %j leaves the connection usable: %s', (line, headers, reusable) => {
    expect(read(text(line, ...headers, '', ''))).toMatchObject([{ body: '', reusable }]);
  });

  it.each([
    ['HTTP/2 200 OK', '', ''],
    ['HTTP/1.1 20 OK', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: 5', 'content-length: 6', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: -1', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: 1', 'transfer-encoding: chunked', '', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: gzip, chunked', '', ''],
    ['HTTP/1.1 200 OK', 'a: b', ' folded: c', '', ''],
    ['HTTP/1.1 200 OK', 'a : b', '', ''],
    ['HTTP/1.1 200 OK', 'a: b\nc: d', '', ''],
    ['HTTP/1.1 200 OK', 'no colon', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: 1', '', 'xy'],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', 'zz', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '1', 'xy', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '1\nx', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '1'.repeat(2000)],
    [`HTTP/1.1 200 OK`, `a: ${'x'.repeat(70_000)}`],
  ])('that is malformed is refused: %j', (...lines) => {
    expect(() => read(text(...lines))).toThrow(MalformedResponse);
  });
});
