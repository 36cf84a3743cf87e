// Continuous load until /tmp/stop exists: the URL is the argument, the request comes on stdin. Prints {answered, failed, failures}.
// Half of the clients keep their connection, the others take a new one for each request.
/* global AbortSignal */
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';

const [, url] = process.argv;
const request = await text(process.stdin);
const CLIENTS = 6;
let answered = 0;
const failures = [];
let reference;

async function client(index) {
  const headers = { 'content-type': 'application/json', ...(index % 2 === 0 && { connection: 'close' }) };
  while (!existsSync('/tmp/stop')) {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers,
        body: request,
        signal: AbortSignal.timeout(30_000),
      });
      const body = await response.json();
      if (response.status !== 200) throw new Error(`status ${response.status}: ${JSON.stringify(body)}`);
      const first = body.data[0].embedding[0];
      reference ??= first;
      if (Math.abs(first - reference) > 1e-5) throw new Error(`another vector: ${first} for ${reference}`);
      answered += 1;
    } catch (error) {
      failures.push(`${new Date().toISOString()} client ${index}: ${error.message} ${error.cause?.code ?? ''}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)));
console.log(JSON.stringify({ answered, failures: failures.slice(0, 20), failed: failures.length }));
