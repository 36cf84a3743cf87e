// A router in a process of its own, before runtimes that listen on these ports: `node router-child.ts MODEL PORT…`. Prints its addresses.
import { setTimeout as sleep } from 'node:timers/promises';
import { startStubCluster } from './stub-runtime-cluster.ts';

const [model = '', ...ports] = process.argv.slice(2);
const own = Object.entries(process.env).filter(
  (entry): entry is [string, string] => entry[0].startsWith('KUBEMBED_') && entry[1] !== undefined,
);
const cluster = await startStubCluster(Object.fromEntries(own));
await cluster.model('model', { spec: { model }, revision: 'a'.repeat(40) });
await cluster.endpoints('model', ports.map(Number));
while (!cluster.router.ready()) await sleep(10);
const { url, internalUrl } = cluster.router;
process.stdout.write(`${JSON.stringify({ url, internalUrl })}\n`);
// The parent's end is this one's, too.
process.stdin.resume().on('end', () => process.exit(0));
