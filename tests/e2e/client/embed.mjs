// Asks for embeddings: the URL is the argument, the request comes on stdin. Prints {status, body}.
import { text } from 'node:stream/consumers';

const [, url] = process.argv;
const headers = { 'content-type': 'application/json' };
const response = await fetch(url, { method: 'POST', headers, body: await text(process.stdin) });
console.log(JSON.stringify({ status: response.status, body: await response.json() }));
