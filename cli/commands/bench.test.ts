import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { CliIo } from '../command.ts';
import { benchCommand } from './bench.ts';

const TOKENS = 7;

it.each([1, 8, 32])('counts the tokens of every answer, %i clients at a time', async (concurrency) => {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      void sleep(1 + ((request.socket.remotePort ?? 0) % 5)).then(() => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ data: [{ index: 0, embedding: 'AACAPw==' }], usage: { prompt_tokens: TOKENS } }));
      });
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  let out = '';
  const io: CliIo = {
    write: (text) => (out += text),
    print: async (text) => void (out += text),
    writeError: () => undefined,
    input: async function* () {
      yield* [];
    },
    isTerminal: false,
    output: { isTerminal: false, colour: false, columns: () => Infinity },
    env: { OPENAI_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` },
    program: 'kubembed',
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
    signal: new AbortController().signal,
  };
  expect(await benchCommand.run(['-m', 'm', '-c', String(concurrency), '--seconds', '1', '--json'], io)).toBe(0);
  const { requests, requestsPerSecond, tokensPerSecond } = JSON.parse(out) as Record<string, number>;
  expect(requests).toBeGreaterThanOrEqual(concurrency);
  expect(tokensPerSecond! / requestsPerSecond!).toBeCloseTo(TOKENS, 6);
  server.closeAllConnections();
  server.close();
});
