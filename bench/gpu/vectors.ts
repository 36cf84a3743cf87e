// The fixtures of every architecture through the runtime's own sessions on one device: how far the vectors are from transformers'.
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chooseModel } from '../../runtime/engine/load.ts';
import { createRunner } from '../../runtime/engine/runner.ts';
import type { Device } from '../../runtime/engine/session.ts';
import { describeSnapshot } from '../../runtime/lifecycle-model.ts';

const FIXTURES = fileURLToPath(new URL('../../tests/fixtures/architectures/', import.meta.url));
const LAYOUTS = ['grouped', 'packed'] as const;
const PRECISIONS = ['float32', 'float16'] as const;
const POOLINGS = ['mean', 'cls'] as const;

interface Reference {
  readonly texts: readonly number[][];
  readonly mean: readonly number[][];
  readonly cls: readonly number[][];
}

type Vector = ArrayLike<number>;

export interface Deviation {
  readonly largest: number;
  readonly smallestCosine: number;
}

export function deviation(pairs: readonly (readonly [Vector, Vector])[]): Deviation {
  let largest = 0;
  let smallestCosine = 1;
  for (const [actual, expected] of pairs) {
    let dot = 0;
    for (let index = 0; index < expected.length; index++) {
      // A comparison with NaN is false: what is no number must count as far away.
      const off = Math.abs(actual[index]! - expected[index]!);
      largest = off <= largest ? largest : Number.isNaN(off) ? Infinity : off;
      dot += actual[index]! * expected[index]!;
    }
    smallestCosine = dot >= smallestCosine ? smallestCosine : Number.isNaN(dot) ? -1 : dot;
  }
  return { largest, smallestCosine };
}

/** One text, all lengths together, and the same text twice. */
const companies = (count: number): number[][] => [
  ...Array.from({ length: count }, (_, text) => [text]),
  [...Array(count).keys()],
  [1, 1],
];

async function deviationOf(
  folder: string,
  device: Device,
  choices: Pick<Parameters<typeof chooseModel>[0], 'pooling' | 'precision' | 'layout'>,
) {
  const reference = JSON.parse(await readFile(join(folder, 'reference.json'), 'utf8')) as Reference;
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors'));
  const files = {
    modelId: folder,
    revision: 'fixture',
    snapshotDir: folder,
    weights: new Map(names.map((name) => [name, join(folder, name)])),
  };
  const { model } = await chooseModel({ files, description: await describeSnapshot(folder), ...choices });
  const runner = await createRunner(model, { device, threads: 1 });
  const pairs: [Vector, Vector][] = [];
  for (const texts of companies(reference.texts.length)) {
    const lists = texts.map((text) => Int32Array.from(reference.texts[text]!));
    if (choices.layout === 'grouped' && new Set(lists.map(({ length }) => length)).size > 1) continue;
    const { data, dimensions } = await runner.run(lists);
    for (const [row, text] of texts.entries()) {
      pairs.push([data.subarray(row * dimensions, (row + 1) * dimensions), reference[choices.pooling][text]!]);
    }
  }
  return deviation(pairs);
}

const CHOICES = LAYOUTS.flatMap((layout) =>
  PRECISIONS.flatMap((precision) => POOLINGS.map((pooling) => ({ layout, precision, pooling }))),
);

/** Tells each result as a line; a graph that cannot be run is told as well. */
export async function compareArchitectures(device: Device, say: (line: string) => void): Promise<void> {
  const names = await readdir(FIXTURES);
  for (const [name, choices] of names.flatMap((one) => CHOICES.map((choice) => [one, choice] as const))) {
    const what = `  ${name} ${choices.layout} ${choices.precision} ${choices.pooling}`;
    const found = await deviationOf(join(FIXTURES, name), device, choices).then(
      ({ largest, smallestCosine }) =>
        `largest difference ${largest.toExponential(1)}, smallest cosine ${smallestCosine.toFixed(7)}`,
      (error: unknown) => `FAILED: ${error instanceof Error ? error.message : String(error)}`,
    );
    say(`${what}: ${found}`);
  }
}
