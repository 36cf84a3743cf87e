// The same service as a process of its own, whose memory can be watched: prints its address, ends with its parent.
import { startService } from './openai-service.ts';

const service = await startService();
process.stdout.write(`${service.url}\n`);
process.stdin.resume().once('end', () => process.exit(0));
// Nobody reads these lines here, and a fuzz makes many.
setInterval(() => service.lines.splice(0), 1000);
