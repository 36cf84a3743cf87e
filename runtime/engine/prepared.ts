// Where a prepared model lies in its folder: the graph, and beside it the weights as ONNX Runtime's kernels want them.
import { join } from 'node:path';
import type { GraphSource, PreparedSource } from './protocol.ts';

export const PREPARED_WEIGHTS = 'weights.bin';

export const preparedModelPath = (folder: string): string => join(folder, 'model.onnx');

export const preparedIn = (folder: string, { outputName, plan, tokenEmbeddings }: GraphSource): PreparedSource => ({
  kind: 'prepared',
  path: preparedModelPath(folder),
  outputName,
  plan,
  tokenEmbeddings,
});
