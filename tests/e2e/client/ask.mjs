// Sends what comes on stdin, {headers, body}, to the URL that is the argument. Prints {status, text} with headers and body in the text.
import { json } from 'node:stream/consumers';

const [, url] = process.argv;
const { headers, body } = await json(process.stdin);
const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
console.log(
  JSON.stringify({
    status: response.status,
    text: `${JSON.stringify([...response.headers])}\n${await response.text()}`,
  }),
);
