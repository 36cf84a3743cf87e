// All hostile clients, in a process of their own: `node hostile-child.ts TARGET`, a `Target` as JSON. Ends with its parent.
import { beHostile } from './hostile-clients.ts';
import type { Target } from './hostile-clients.ts';

process.stdin.resume().on('end', () => process.exit(0));
await beHostile(JSON.parse(process.argv[2] ?? '{}') as Target);
