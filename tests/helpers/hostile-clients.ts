// Clients that do their worst, all of whom a server must outlive: one table, each kind a function that goes on until it is told to end.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

export interface Target {
  readonly url: string;
  readonly model: string;
  /** A key of a tenant, who may ask; absent: no keys are asked for. */
  readonly key?: string | undefined;
  /** Where the clients come from. */
  readonly localAddress?: string | undefined;
}

interface Kind {
  /** So many at once. */
  readonly clients: number;
  /** What one of them does, over and over. */
  readonly act: (target: Target) => Promise<void>;
}

const BODY_BYTES = 262_000;

const headOf = ({ key }: Target, length: number | string, more = ''): string =>
  `POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${
    key === undefined ? '' : `authorization: Bearer ${key}\r\n`
  }${more}${typeof length === 'number' ? `content-length: ${length}` : `transfer-encoding: ${length}`}\r\n\r\n`;

export const requestOf = (target: Target, body: string | Buffer, more = ''): Buffer =>
  Buffer.concat([Buffer.from(headOf(target, Buffer.byteLength(body), more)), Buffer.from(body)]);

/** A connection that never hangs up by itself, and takes every fault for granted. */
export function open({ url, localAddress }: Target, reads: boolean): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), localAddress, allowHalfOpen: true });
  socket.on('error', () => undefined);
  if (reads) socket.resume();
  else socket.pause();
  return socket;
}

const closed = async (socket: Socket): Promise<void> => {
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
};

/** How long one of them holds on before it comes anew: longer than every time-out that is to end it. */
const HOLD_MS = 100_000;

/** Sends these bytes and then nothing, for as long as it is let. */
const holds =
  (bytes: (target: Target) => string | Buffer, reads = true): Kind['act'] =>
  async (target) => {
    const socket = open(target, reads);
    socket.write(bytes(target));
    const over = new AbortController();
    // A server that has gone for good is not noticed by a client that never reads.
    await Promise.race([closed(socket), sleep(HOLD_MS, undefined, { signal: over.signal }).catch(() => undefined)]);
    over.abort();
    socket.destroy();
    await sleep(500);
  };

/** Sends these pieces at this pace. */
const drips =
  (pieces: (target: Target) => readonly (string | Buffer)[], everyMs: number): Kind['act'] =>
  async (target) => {
    const socket = open(target, true);
    for (const piece of pieces(target)) {
      if (socket.destroyed || socket.readableEnded) break;
      socket.write(piece);
      await sleep(everyMs);
    }
    socket.destroy();
  };

/** Sends a whole request and takes the answer, or leaves in the middle. */
const asks =
  (request: (target: Target) => Buffer, { leaveMs, pauseMs = 100 }: { leaveMs?: number; pauseMs?: number } = {}) =>
  async (target: Target): Promise<void> => {
    const socket = open(target, true);
    socket.write(request(target));
    // Asked not to keep the connection, it hangs up when it has answered.
    socket.on('end', () => socket.destroy());
    if (leaveMs === undefined) await closed(socket);
    else await sleep(leaveMs * Math.random());
    socket.destroy();
    await sleep(pauseMs);
  };

const json = ({ model }: Target, input: unknown, more: object = {}): string =>
  JSON.stringify({ model, input, encoding_format: 'base64', ...more });

let serial = 0;
const unique = (): number => serial++;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const letters = (count: number): string => Array.from({ length: count }, (_, at) => LETTERS[at % 26]).join(' ');

const FLOODED = 'a b c d e f g h i j k l m n o p q r s t u v w x y z';
const CLOSE = 'connection: close\r\n';

/** Lists of token ids with one beginning, which differ at their very end. */
const alike = (lists: number, length: number): number[][] =>
  Array.from({ length: lists }, (_, at) => [
    ...Array<number>(length - 3).fill(7),
    at % 100,
    Math.floor(at / 100),
    unique() % 100,
  ]);

const TEXT_BYTES = 300_000;
/** What some tokenizer or pattern took long for. */
const PATHOLOGICAL = ['!', 'a', ' ', '\n', 'e\u0301', '\u200b', '\ufdfa', '漢', '😀', '[CLS]', '\u1100', "'s "].map(
  (unit) => unit.repeat(Math.ceil(TEXT_BYTES / Buffer.byteLength(unit))),
);
const BROKEN = [
  '{',
  '[]',
  'null',
  '{"input":',
  `{"x":${'['.repeat(50_000)}`,
  `{"model":"m","input":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
  '{"model":"m","input":"\ud800"}',
  '\ufeff\ufeff{}',
];

const someOf = <T>(values: readonly T[]): T => values[Math.floor(Math.random() * values.length)]!;
const BOMB = gzipSync(Buffer.alloc(60_000_000, ' '));

export const HOSTILE: Readonly<Record<string, Kind>> = {
  'say nothing': { clients: 40, act: holds(() => '') },
  'send half a head': { clients: 40, act: holds((to) => headOf(to, 5).slice(0, 60)) },
  'send 15 KB of a head': { clients: 20, act: holds(() => `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(15_000)}`) },
  'send half a body': {
    clients: 100,
    act: holds((to) => headOf(to, BODY_BYTES) + `{"input":"${'x'.repeat(BODY_BYTES / 2)}`),
  },
  'send half a small body': { clients: 100, act: holds((to) => headOf(to, 7000) + `{"input":"${'x'.repeat(5000)}`) },
  'send half a chunk': {
    clients: 20,
    act: holds((to) => `${headOf(to, 'chunked')}ffff\r\n{"input":"${'x'.repeat(9000)}`),
  },
  'stay idle': { clients: 40, act: holds((to) => requestOf(to, json(to, 'a'))) },
  'stay idle after a refusal': { clients: 20, act: holds(() => 'GET /none HTTP/1.1\r\nhost: x\r\n\r\n') },
  'send a byte of a head every five seconds': { clients: 20, act: drips((to) => Array.from(headOf(to, 5)), 5000) },
  'send a byte of a body every second': {
    clients: 20,
    act: drips((to) => [headOf(to, 200), ...Array.from('{"input":"'.padEnd(150, 'x'))], 1000),
  },
  'read nothing of large answers': {
    clients: 20,
    act: holds((to) => {
      const one = requestOf(to, json(to, Array<string>(2048).fill('a'), { encoding_format: 'float' }));
      return Buffer.concat(Array<Buffer>(16).fill(one));
    }, false),
  },
  'send lists of ids that look alike': {
    clients: 1,
    act: asks((to) => requestOf(to, json(to, alike(2048, 2390)), CLOSE), { pauseMs: 5000 }),
  },
  'send 2,048 texts': {
    clients: 2,
    act: asks((to) =>
      requestOf(
        to,
        json(
          to,
          Array.from({ length: 2048 }, () => `${FLOODED} ${unique()}`),
        ),
        CLOSE,
      ),
    ),
  },
  'flood with bulk': {
    clients: 20,
    act: asks((to) =>
      requestOf(
        to,
        json(
          to,
          Array.from({ length: 64 }, () => `${FLOODED} ${unique()}`),
        ),
        `x-kubembed-priority: bulk\r\n${CLOSE}`,
      ),
    ),
  },
  'send pathological texts': {
    clients: 1,
    act: asks((to) => requestOf(to, json(to, someOf(PATHOLOGICAL)), CLOSE), { pauseMs: 500 }),
  },
  'send a bomb': {
    clients: 1,
    act: asks((to) => requestOf(to, BOMB, `content-encoding: gzip\r\n${CLOSE}`), { pauseMs: 5000 }),
  },
  'send broken JSON': { clients: 4, act: asks((to) => requestOf(to, someOf(BROKEN), CLOSE)) },
  'send broken HTTP': {
    clients: 4,
    act: asks(() =>
      Buffer.from(
        someOf([
          'nonsense\r\n\r\n',
          'GET / HTTP/9\r\n\r\n',
          '\x16\x03\x01\x02\x00',
          'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
        ]),
      ),
    ),
  },
  'come with a wrong key': {
    clients: 4,
    act: async (to) =>
      await asks((other) => requestOf(other, json(other, letters(20_000)), CLOSE))({ ...to, key: 'sk-wrong' }),
  },
  'leave in the middle': {
    clients: 10,
    act: asks(
      (to) =>
        requestOf(
          to,
          json(
            to,
            Array.from({ length: 40 }, () => `${FLOODED} ${unique()}`),
          ),
          CLOSE,
        ),
      { leaveMs: 40 },
    ),
  },
};

/** All of them at once, until this process ends; each begins a little after the one before. */
export async function beHostile(target: Target, share = 1): Promise<void> {
  const client = async (act: Kind['act'], delayMs: number): Promise<void> => {
    await sleep(delayMs);
    for (;;) await act(target);
  };
  await Promise.all(
    Object.values(HOSTILE).flatMap(({ clients, act }) =>
      Array.from({ length: Math.ceil(clients * share) }, async (_, at) => await client(act, at * 20)),
    ),
  );
}
