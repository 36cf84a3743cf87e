// Opens connections to the addresses that come on stdin, [{host, port}], at the same time. Prints for each whether its packets came through:
// a refusal is an answer, too.
import { connect } from 'node:net';
import { json } from 'node:stream/consumers';

const PATIENCE_MS = 5000;

const cameThrough = async (address) =>
  await new Promise((resolve) => {
    const socket = connect({ ...address, timeout: PATIENCE_MS });
    const end = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', ({ code }) => end(code === 'ECONNREFUSED'));
  });

console.log(JSON.stringify(await Promise.all((await json(process.stdin)).map(cameThrough))));
