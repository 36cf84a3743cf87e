// Runs one text of many tokens through the graph of a folder, and prints what that took of memory beyond what was there before.
import { readFileSync, writeFileSync } from 'node:fs';
import { openFolder } from '../helpers/graph-session.ts';

const [folder = '', tokens = ''] = process.argv.slice(2);

const kilobytes = (field: string): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

const run = await openFolder(folder, { pooling: 'mean', precision: 'float32', layout: 'flexible' });
// What a first run allocates once for all.
await run([[5, 6, 7]]);
// From here on the most that there was is counted anew.
writeFileSync('/proc/self/clear_refs', '5');
const before = kilobytes('VmRSS');
const [vector = []] = await run([Array.from({ length: Number(tokens) }, (_, at) => 5 + ((at * 37) % 40))]);
const finite = vector.length > 0 && vector.every(Number.isFinite);
process.stdout.write(JSON.stringify({ finite, bytes: (kilobytes('VmHWM') - before) * 1024 }));
