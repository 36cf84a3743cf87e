// The families bench: kubembed beside bare sessions of the same graph, family by family, in turns and on the same texts.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { circumstances, ROOT } from '../machine.ts';
import type { FamiliesOptions } from '../options.ts';
import { exitOnSignals } from '../process.ts';
import { publish } from '../report.ts';
import { build, checkoutPeer, PEERS } from '../runtime/peers.ts';
import { runSession } from '../runtime/session.ts';
import { createKinds, withShaped } from '../shapes.ts';
import type { Kinds, ShapedModel } from '../shapes.ts';
import { FAMILY_MODELS, INT8_MODELS } from './models.ts';
import { INT8_PEERS, OWN_PEERS, renderFamilies, renderInt8 } from './report.ts';
import type { FamilyResult } from './report.ts';

const REPORTS = join(ROOT, 'reports');

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function measure(
  family: ShapedModel,
  kinds: Kinds,
  options: FamiliesOptions,
  threads: number,
): Promise<FamilyResult> {
  const { name, shape } = family;
  const { tokenizer, ...texts } = await kinds.of(family);
  return await withShaped(family, tokenizer, async (repository) => {
    const context = { ...repository, ...texts, threads, python: '' };
    const names = options.int8 ? INT8_PEERS : OWN_PEERS;
    const peers = [...PEERS.filter((peer) => names.includes(peer.name)), ...options.checkouts.map(checkoutPeer)];
    const { samples, peakRssMb, failed } = await runSession(peers, context, {
      ...options,
      starts: 1,
      quick: false,
      compares: false,
      say,
      logFile: (peer) => join(REPORTS, `bench-families-${name}-${peer}.log`),
      keep: () => Promise.resolve(),
    });
    for (const { name: peer, reason } of failed) throw new Error(`${name}, ${peer}: ${reason}`);
    return { shape, samples, peakRssMb };
  });
}

export async function benchFamilies(options: FamiliesOptions): Promise<void> {
  exitOnSignals();
  const { families, int8, checkouts, cells, timing, threads = availableParallelism() } = options;
  const models = int8 ? INT8_MODELS : FAMILY_MODELS;
  const unknown = families?.filter((name) => !models.some((one) => one.name === name)) ?? [];
  if (unknown.length > 0) {
    const known = models.map(({ name }) => name).join(', ');
    throw new RangeError(`no family ${unknown.join(', ')}; there are ${known}`);
  }
  const chosen = models.filter(({ name }) => families?.includes(name) ?? true);
  for (const path of [ROOT, ...checkouts.map((one) => one.path)]) build(path, 'runtime');
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
  await mkdir(REPORTS, { recursive: true });
  try {
    const kinds = createKinds(folder);
    const results: FamilyResult[] = [];
    for (const family of chosen) {
      say(`${family.shape} …`);
      results.push(await measure(family, kinds, options, threads));
    }
    const { seconds, warmUpSeconds, repeats } = timing;
    const report = {
      results,
      cells,
      checkouts: checkouts.map(({ name }) => name),
      circumstances: circumstances(
        `of which ${threads} compute`,
        `windows of ${seconds} s after ${warmUpSeconds} s, ${repeats} rounds`,
      ),
    };
    const name = int8 ? 'int8' : 'families';
    const raw = `bench-${name}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`;
    await writeFile(join(REPORTS, raw), `${JSON.stringify({ options, ...report }, undefined, 1)}\n`);
    await publish((int8 ? renderInt8 : renderFamilies)(report), `bench:${name}`, options.write);
    say(`Raw numbers: reports/${raw}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
