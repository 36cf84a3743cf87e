import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { ModelError } from './files.ts';
import { readOnnxFacts, renameOnnxData } from './onnx-data.ts';

const GRAPH = join(import.meta.dirname, '../tests/fixtures/twins/bge-m3/onnx/model.onnx');
const folder = mkdtempSync(join(tmpdir(), 'kubembed-onnx-'));
afterAll(() => rmSync(folder, { recursive: true }));

const written = (bytes: Uint8Array): string => {
  const path = join(folder, 'model.onnx');
  writeFileSync(path, bytes);
  return path;
};

test('a graph says which files lie beside it, and what goes in and out', async () => {
  const facts = await readOnnxFacts(GRAPH, 'model.onnx');
  expect(facts.dataFiles).toEqual(['Constant_7_attr__value', 'model.onnx_data']);
  expect(facts.inputs.slice(0, 2)).toEqual(['input_ids', 'attention_mask']);
  expect(facts.outputs).toEqual(['last_hidden_state']);
  expect(facts.opsets.get('')).toBe(17);
});

test('the files beside it get other names, and nothing else changes', async () => {
  const names = new Map([
    ['model.onnx_data', 'blobs/0123456789abcdef'],
    ['Constant_7_attr__value', 'x'],
  ]);
  const renamed = written(await renameOnnxData(GRAPH, names));
  const facts = await readOnnxFacts(renamed, 'model.onnx');
  expect(facts).toEqual({ ...(await readOnnxFacts(GRAPH, 'model.onnx')), dataFiles: ['blobs/0123456789abcdef', 'x'] });
  const back = await renameOnnxData(renamed, new Map([...names].map(([one, other]) => [other, one])));
  expect(Buffer.from(back).equals(readFileSync(GRAPH))).toBe(true);
});

test('what is cut or overwritten is refused, or read, and never hangs', async () => {
  const whole = readFileSync(GRAPH);
  for (let at = 0; at < whole.length; at += 997) {
    const broken = Buffer.from(whole);
    broken.fill(0xff, at, at + 3);
    for (const bytes of [whole.subarray(0, at), broken]) {
      const reason = await readOnnxFacts(written(bytes), 'model.onnx').then(
        () => 'read',
        (error: unknown) => (error as ModelError).reason,
      );
      expect(['read', 'CorruptWeights']).toContain(reason);
    }
  }
});
