// The front bench: small requests a second with one front thread and with several, over workers of a fixed run time.
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TINY_MODEL } from '../../tests/helpers/runtime-process.ts';
import { circumstances, ROOT } from '../machine.ts';
import type { FrontOptions } from '../options.ts';
import { exitOnSignals, freePort, startChild } from '../process.ts';
import type { Child } from '../process.ts';
import { publish } from '../report.ts';
import { renderFront } from './report.ts';
import type { FrontWindow } from './report.ts';
import { startLoad } from './load.ts';

/** Until the compiler has seen enough. */
const WARM_SECONDS = 4;
/** A sentence of twenty tokens, whatever it says. */
const INPUT = 'a b c d e f g h i j k l m n o p q r';
const TICKS_PER_SECOND = 100;

interface Target {
  readonly fronts: number;
  readonly port: number;
  readonly child: Child;
}

async function start(fronts: number): Promise<Target> {
  mkdirSync(join(ROOT, 'reports'), { recursive: true });
  const port = await freePort();
  const file = join(ROOT, 'bench/front/target.ts');
  const args = ['--disable-warning=ExperimentalWarning', file, String(fronts), String(port)];
  const child = startChild({ file: process.execPath, args }, join(ROOT, 'reports', `bench-front-${fronts}.log`));
  await child.until(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    return answer?.ok === true;
  });
  return { fronts, port, child };
}

/** CPU seconds of each thread. */
function threadSeconds(pid: number): Map<string, number> {
  const folder = `/proc/${pid}/task`;
  return new Map(
    readdirSync(folder).map((thread) => {
      const fields = readFileSync(join(folder, thread, 'stat'), 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      return [thread, (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND];
    }),
  );
}

async function measure({ fronts, port, child }: Target, options: FrontOptions, seconds: number): Promise<FrontWindow> {
  const { connections, depth } = options;
  const body = Buffer.from(JSON.stringify({ model: TINY_MODEL, input: INPUT, encoding_format: 'base64' }));
  const load = startLoad({ port, connections, depth, body });
  await Promise.race([sleep(500), load.failed]);
  const before = threadSeconds(child.pid);
  const own = process.cpuUsage();
  const [from, fromMs] = [load.answered(), performance.now()];
  await Promise.race([sleep(seconds * 1000), load.failed, child.died]);
  const requests = load.answered() - from;
  const passed = (performance.now() - fromMs) / 1000;
  const used = process.cpuUsage(own);
  const threads = [...threadSeconds(child.pid)].map(([thread, all]) => ({
    isMain: Number(thread) === child.pid,
    seconds: all - (before.get(thread) ?? 0),
  }));
  load.stop();
  await sleep(200);
  const busiest = threads.map((thread) => thread.seconds).toSorted((a, b) => b - a);
  return {
    fronts,
    perSecond: requests / passed,
    serverMicroseconds: (busiest.reduce((sum, one) => sum + one, 0) * 1e6) / requests,
    busiestMicroseconds: ((busiest[0] ?? 0) * 1e6) / requests,
    mainMicroseconds: ((threads.find(({ isMain }) => isMain)?.seconds ?? 0) * 1e6) / requests,
    clientCores: (used.user + used.system) / 1e6 / passed,
  };
}

export async function benchFront(options: FrontOptions): Promise<void> {
  exitOnSignals();
  const targets: Target[] = [];
  try {
    for (const fronts of options.fronts) targets.push(await start(fronts));
    for (const target of targets) await measure(target, options, WARM_SECONDS);
    const windows: FrontWindow[] = [];
    for (let round = 0; round < options.rounds; round++) {
      for (const target of targets) {
        const window = await measure(target, options, options.seconds);
        process.stderr.write(`  #${round + 1} ${JSON.stringify(window)}\n`);
        windows.push(window);
      }
    }
    await publish(renderFront(windows, circumstances('shared with the clients')), 'bench:front', options.write);
  } finally {
    await Promise.all(targets.map(({ child }) => child.stop()));
  }
}
