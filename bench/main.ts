// `npm run bench -- <what>`: finds the bench that was asked for.
import { errorText } from '../common/util/text.ts';
import {
  readBulkOptions,
  readColdStartOptions,
  readFamiliesOptions,
  readFrontOptions,
  readGpuOptions,
  readRouterOptions,
  readScaleOptions,
  USAGE,
} from './options.ts';

type Bench = (args: readonly string[]) => Promise<void>;

/** Each loads what it needs and no more. */
const BENCHES: Readonly<Record<string, Bench>> = {
  runtime: async (args) => await (await import('./runtime/main.ts')).benchRuntime(args),
  limit: async (args) => await BENCHES['runtime']!(['--peers', 'limit', '--cells', 'A:1,B:1,C:1', ...args]),
  gpu: async (args) => await (await import('./gpu/main.ts')).benchGpu(readGpuOptions(args)),
  families: async (args) => await (await import('./families/main.ts')).benchFamilies(readFamiliesOptions(args)),
  int8: async (args) => await (await import('./families/main.ts')).benchFamilies(readFamiliesOptions(args, true)),
  bulk: async (args) => await (await import('./bulk/main.ts')).benchBulk(readBulkOptions(args)),
  router: async (args) => await (await import('./router/main.ts')).benchRouter(readRouterOptions(args)),
  front: async (args) => await (await import('./front/main.ts')).benchFront(readFrontOptions(args)),
  scale: async (args) => await (await import('./scale/main.ts')).benchScale(readScaleOptions(args), args),
  'cold-start': async (args) => await (await import('./cold-start/main.ts')).benchColdStart(readColdStartOptions(args)),
  setup: async ([what]) => {
    if (what === undefined) await (await import('./runtime/main.ts')).setUp();
    else if (what === 'vllm') (await import('./gpu/peers.ts')).setUpVllm();
    else throw new RangeError(`no environment ${what} to set up, only vllm`);
  },
};

const [what = '', ...args] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, what) ? BENCHES[what] : undefined;
if (bench === undefined) {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 2;
} else {
  try {
    await bench(args);
  } catch (error) {
    process.stderr.write(`${errorText(error)}\n`);
    process.exitCode = 1;
  }
}
