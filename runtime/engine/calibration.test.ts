import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calibrate } from './calibration.ts';
import type { CalibrationOptions } from './calibration.ts';
import { readCalibration, writeCalibration } from './calibration-store.ts';
import type { RunMessage } from './protocol.ts';
import { tuneWhenQuiet } from './tuning.ts';

/** Milliseconds of a run: by its tokens, and whether wide. */
type Times = (tokens: number, wide: boolean) => number;

function machine(times: Times) {
  let asked = 0;
  const run = async ({ id, ids, wide }: RunMessage) => {
    asked++;
    await Promise.resolve();
    const inferMs = times(ids.length, wide);
    return { id, bytes: new Uint8Array(0), ends: new Uint32Array(0), paddedTokens: 0, serializeMs: 0, inferMs };
  };
  return { pool: { run }, asked: () => asked };
}

const options = (over: Partial<CalibrationOptions> = {}): CalibrationOptions => ({
  model: { maxTokens: 512, vocabularySize: 100 },
  isQuiet: () => true,
  ...over,
});

const fourCores: Times = (tokens, wide) => (wide ? tokens / 4 + 1 : tokens);

describe('calibrate', () => {
  it('gives every lone text all cores where it scales', async () => {
    expect(await calibrate(machine(fourCores).pool, options())).toEqual({ wideFrom: 1 });
  });

  it('keeps short texts narrow where handing them to all cores costs more than it saves', async () => {
    const slowToShare: Times = (tokens, wide) => (wide ? tokens / 4 + 30 : tokens);
    expect(await calibrate(machine(slowToShare).pool, options())).toEqual({ wideFrom: 48 });
    const never: Times = (tokens) => tokens;
    expect(await calibrate(machine(never).pool, options())).toEqual({});
  });

  it('asks a large model few times', async () => {
    const { pool, asked } = machine((tokens, wide) => (wide ? tokens * 20 : tokens * 50));
    expect(await calibrate(pool, options())).toEqual({ wideFrom: 1 });
    expect(asked()).toBeLessThanOrEqual(5);
  });

  it('finds nothing while something else has the cores', async () => {
    let run = 0;
    const shared: Times = (tokens, wide) => (wide ? tokens / 4 : tokens) * (run++ % 3 === 0 ? 1 : 2);
    expect(await calibrate(machine(shared).pool, options())).toBeUndefined();
  });

  it('finds nothing beside requests', async () => {
    let quiet = 9;
    const { pool, asked } = machine(fourCores);
    expect(await calibrate(pool, options({ isQuiet: () => quiet-- > 0 }))).toBeUndefined();
    expect(asked()).toBeLessThan(9);
  });
});

describe('tuneWhenQuiet', () => {
  it('waits for a quiet moment, and gives up when stopped', async () => {
    let quiet = false;
    const { pool, asked } = machine(fourCores);
    const stop = new AbortController();
    const widen = (): Promise<boolean> => Promise.resolve(true);
    const tuned = tuneWhenQuiet({ ...options({ isQuiet: () => quiet }), pool, widen, pauseMs: 1, signal: stop.signal });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(asked()).toBe(0);
    quiet = true;
    expect(await tuned).toEqual({ wideFrom: 1 });
    const stopped = tuneWhenQuiet({ ...options(), pool, widen, pauseMs: 60_000, signal: stop.signal });
    stop.abort();
    expect(await stopped).toBeUndefined();
  });
});

describe('what was measured', () => {
  let folder = '';
  const snapshotDir = () => join(folder, 'snapshots', 'abc');
  const key = { revision: 'abc', precision: 'float32', cpus: 4, cpuModel: 'EPYC' };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kubembed-calibration-'));
    await mkdir(snapshotDir(), { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is kept beside the model, for this model on this kind of machine alone', async () => {
    await writeCalibration(snapshotDir(), key, {});
    expect(await readCalibration(snapshotDir(), key)).toBeUndefined();
    await mkdir(join(folder, '.kubembed'));
    for (const found of [{}, { wideFrom: 48 }]) {
      await writeCalibration(snapshotDir(), key, found);
      expect(await readCalibration(snapshotDir(), key)).toEqual(found);
    }
    for (const other of [{ revision: 'def' }, { precision: 'int8' }, { cpus: 2 }, { cpuModel: 'Xeon' }]) {
      expect(await readCalibration(snapshotDir(), { ...key, ...other })).toBeUndefined();
    }
  });

  it('is measured again when the file is not what was written', async () => {
    const damaged = { ...key, revision: 'damaged' };
    await writeCalibration(snapshotDir(), damaged, { wideFrom: 0 });
    expect(await readCalibration(snapshotDir(), damaged)).toBeUndefined();
    await writeFile(join(folder, 'unrelated'), '{');
    expect(await readCalibration(join(folder, 'unrelated', 'x'), damaged)).toBeUndefined();
  });
});
