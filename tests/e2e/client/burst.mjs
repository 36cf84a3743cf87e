// Sends a request many times at once: the URL is the argument, {request, count, patienceMs} comes on stdin.
// Prints {statuses, vectors, failures}: how often each status, and every distinct first vector (base64).
/* global AbortSignal */
import { text } from 'node:stream/consumers';

const [, url] = process.argv;
const { request, count, patienceMs = 240_000 } = JSON.parse(await text(process.stdin));
const statuses = {};
const vectors = new Set();
const failures = new Set();

async function one() {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...request, encoding_format: 'base64' }),
      signal: AbortSignal.timeout(patienceMs),
    });
    statuses[response.status] = (statuses[response.status] ?? 0) + 1;
    const body = await response.json();
    if (response.status === 200) vectors.add(body.data[0].embedding);
    else failures.add(JSON.stringify(body));
  } catch (error) {
    failures.add(`${error.message} ${error.cause?.code ?? ''}`);
  }
}

await Promise.all(Array.from({ length: count }, one));
console.log(JSON.stringify({ statuses, vectors: [...vectors], failures: [...failures].slice(0, 10) }));
