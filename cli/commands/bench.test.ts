import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { CliIo } from '../command.ts';
import { readCorpus } from '../corpora.ts';
import { benchCommand } from './bench.ts';

const TOKENS = 7;

const ioFor = (server: Server, write: (text: string) => void): CliIo => ({
  write,
  print: async (text) => write(text),
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
});

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
  const io = ioFor(server, (text) => (out += text));
  expect(await benchCommand.run(['-m', 'm', '-c', String(concurrency), '--seconds', '1', '--json'], io)).toBe(0);
  const { requests, requestsPerSecond, tokensPerSecond } = JSON.parse(out) as Record<string, number>;
  expect(requests).toBeGreaterThanOrEqual(concurrency);
  expect(tokensPerSecond! / requestsPerSecond!).toBeCloseTo(TOKENS, 6);
  server.closeAllConnections();
  server.close();
});

it('sends the texts of a corpus in their order, and refuses one that there is not', async () => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { input } = JSON.parse(body) as { input: string | readonly string[] };
      seen.push(...[input].flat());
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ data: [{ index: 0, embedding: 'AACAPw==' }], usage: { prompt_tokens: TOKENS } }));
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const io = ioFor(server, () => undefined);
  const args = ['-m', 'm', '-c', '1', '--inputs', '2', '--seconds', '1'];
  await benchCommand.run([...args, '--corpus', 'A'], io);
  const [, ...texts] = seen;
  const sentences = await readCorpus('A');
  expect(texts.length).toBeGreaterThan(10);
  expect(texts).toEqual(texts.map((_text, at) => sentences[at % sentences.length]));
  const asked = seen.length;
  await expect(benchCommand.run([...args, '--corpus', 'Z'], io)).rejects.toThrow('--corpus: expected one of A, B, C');
  await expect(benchCommand.run([...args, '--corpus', 'A', '--words', '5'], io)).rejects.toThrow('--words: the texts');
  // What is wrong with a command line is said before anybody is asked for a list of models.
  await expect(benchCommand.run(['--corpus', 'Z'], io)).rejects.toThrow('--corpus: expected one of A, B, C');
  expect(seen).toHaveLength(asked);
  server.closeAllConnections();
  server.close();
});
