// node relay.mjs PORT SOCKET: passes a port of 127.0.0.1 on to a Unix socket, which network namespaces do not keep apart.
import { connect, createServer } from 'node:net';

const [port, path] = process.argv.slice(2);
createServer((socket) => {
  const other = connect(path);
  for (const [one, peer] of [
    [socket, other],
    [other, socket],
  ])
    one.on('error', () => peer.destroy()).pipe(peer);
}).listen(Number(port), '127.0.0.1');
