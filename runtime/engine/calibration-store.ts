// Keeps what was measured of a model on a kind of machine beside the model. A store that is read-only keeps nothing.
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Calibration } from './calibration.ts';

/** All that the times depend on. */
export interface CalibrationKey {
  readonly revision: string;
  readonly precision: string;
  /** CPUs to compute on. */
  readonly cpus: number;
  readonly cpuModel: string;
}

/** To be raised when the measurement changes. */
const FORMAT = 3;

const isCount = (value: unknown): value is number => Number.isInteger(value) && Number(value) >= 1;

export const cpuModel = (): string => cpus()[0]?.model ?? 'unknown';

/** In the folder of our own records, beside the snapshots; a folder without one is nobody's store, and is left alone. */
function fileOf(snapshotDir: string, key: CalibrationKey): string {
  const hash = createHash('sha256').update(
    JSON.stringify([FORMAT, key.revision, key.precision, key.cpus, key.cpuModel]),
  );
  return join(snapshotDir, '..', '..', '.kubembed', `topology-${hash.digest('hex').slice(0, 16)}.json`);
}

export async function readCalibration(snapshotDir: string, key: CalibrationKey): Promise<Calibration | undefined> {
  try {
    const kept = JSON.parse(await readFile(fileOf(snapshotDir, key), 'utf8')) as Record<string, unknown>;
    const { wideFrom } = kept;
    if (wideFrom === undefined) return {};
    return isCount(wideFrom) ? { wideFrom } : undefined;
  } catch {
    return undefined;
  }
}

export async function writeCalibration(snapshotDir: string, key: CalibrationKey, found: Calibration): Promise<void> {
  const file = fileOf(snapshotDir, key);
  try {
    await writeFile(`${file}.new`, JSON.stringify(found));
    await rename(`${file}.new`, file);
  } catch {
    // Measured again at the next start.
  }
}
