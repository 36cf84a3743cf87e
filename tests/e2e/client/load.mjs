// Steady load until /tmp/stop exists: the URL is the argument, the plan comes on stdin as
//   {model, texts, expected, rate, seconds}   expected: a base64 vector for each text; rate 0: as much as it takes
// Prints {answered, failed, failures, skipped, samples}; a sample is [start in ms since the epoch, duration in ms].
// Half of the requests share connections, the others take a new one each.
/* global AbortSignal, Buffer */
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';

const [, , url] = process.argv;
const { model, texts, expected, rate, seconds = Infinity } = JSON.parse(await text(process.stdin));
const TICK_MS = 10;
const MOST_IN_FLIGHT = rate === 0 ? 16 : 64;
const BATCH = 8;

const numbers = (base64) => new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
const vectors = expected.map(numbers);
const isRight = (embedding, index) => {
  const found = numbers(embedding);
  return found.length === vectors[index].length && found.every((x, at) => Math.abs(x - vectors[index][at]) < 1e-5);
};

const failures = [];
const samples = [];
let asked = 0;
let skipped = 0;
let inFlight = 0;

/** Every twentieth request is a batch. */
const indicesOf = (number) =>
  Array.from({ length: number % 20 === 0 ? BATCH : 1 }, (_, n) => (number + n) % texts.length);

async function ask(number) {
  const indices = indicesOf(number);
  const input = indices.map((index) => texts[index]);
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(number % 2 === 0 && { connection: 'close' }) },
    body: JSON.stringify({ model, input: input.length === 1 ? input[0] : input, encoding_format: 'base64' }),
    signal: AbortSignal.timeout(60_000),
  });
  const body = await response.json();
  if (response.status !== 200) throw new Error(`status ${response.status}: ${JSON.stringify(body)}`);
  const right = body.data.length === indices.length && indices.every((at, n) => isRight(body.data[n].embedding, at));
  if (!right) throw new Error(`wrong vectors for request ${number}`);
}

async function one() {
  const started = Date.now();
  inFlight += 1;
  asked += 1;
  try {
    await ask(asked);
    samples.push([started, Date.now() - started]);
  } catch (error) {
    const after = Date.now() - started;
    failures.push(`${new Date(started).toISOString()} + ${after} ms: ${error.message} ${error.cause?.code ?? ''}`);
  } finally {
    inFlight -= 1;
  }
}

const begun = Date.now();
let due = 0;
let last = begun;
while (!existsSync('/tmp/stop') && Date.now() - begun < seconds * 1000) {
  const now = Date.now();
  due += rate === 0 ? MOST_IN_FLIGHT - inFlight : ((now - last) / 1000) * rate;
  last = now;
  for (; due >= 1; due -= 1) {
    // Open loop, but not without end: a machine that cannot keep up shall not drown in it.
    if (inFlight < MOST_IN_FLIGHT) void one();
    else skipped += 1;
  }
  await new Promise((resolve) => setTimeout(resolve, rate === 0 ? 1 : TICK_MS));
}
while (inFlight > 0) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
const report = { answered: samples.length, failed: failures.length, failures: failures.slice(0, 20), skipped, samples };
console.log(JSON.stringify(report));
