// Which tensors a model's weight files hold, of whichever format they are: one index over all of its folders.
import { open } from 'node:fs/promises';
import { dirname, posix } from 'node:path';
import { ModelError } from '../../hub/files.ts';
import type { ModelFiles } from '../../hub/store.ts';
import type { TensorEntry, TensorIndex } from '../graph/weights.ts';
import { readTorchFile } from './pytorch.ts';
import { readHeader } from './safetensors.ts';

const corrupt = (file: string, what: string) => new ModelError('CorruptWeights', `${file}: ${what}`);

/** `name`: of the file in the repository, which messages and entries carry. */
async function readTorchHeader(path: string, name: string): Promise<Map<string, TensorEntry>> {
  await using handle = await open(path);
  const { size } = await handle.stat();
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, offset);
    if (bytesRead < length) throw corrupt(name, 'it ends too early');
    return bytes;
  };
  return await readTorchFile({ size, read }, name);
}

/** The folder all paths share: ONNX Runtime wants the weights below one. */
export function commonFolder(paths: readonly string[]): string {
  const [first = '/', ...others] = paths.map(dirname);
  return others.reduce((common, folder) => {
    let candidate = common;
    while (folder !== candidate && !folder.startsWith(candidate === '/' ? '/' : `${candidate}/`)) {
      candidate = dirname(candidate);
    }
    return candidate;
  }, first);
}

/** What the tensors of a file are called: those of the model itself as the file has them, others with their folder, as `2_Dense/linear.weight`. */
export const namedIn = (repositoryName: string, mainFolder: string, tensor: string): string => {
  const folder = posix.dirname(repositoryName);
  return folder === '.' || folder === mainFolder ? tensor : `${folder}/${tensor}`;
};

/**
 * Indexes every weight file of a model. `files`: real path by name in the repository; all of them must lie below `weightFolder`,
 * because ONNX Runtime refuses external data outside of one folder. `mainFolder`: of the model itself, where it has one.
 */
export async function readTensorIndex(
  files: ModelFiles['weights'],
  weightFolder: string,
  mainFolder = '',
): Promise<TensorIndex> {
  const index = new Map<string, TensorEntry>();
  for (const [repositoryName, path] of files) {
    const file = posix.relative(weightFolder, path);
    if (file.startsWith('..')) throw corrupt(path, `the weight file does not lie in ${weightFolder}`);
    const read = repositoryName.endsWith('.bin') ? readTorchHeader : readHeader;
    for (const [name, entry] of await read(path, repositoryName)) {
      const key = namedIn(repositoryName, mainFolder, name);
      if (index.has(key)) throw corrupt(repositoryName, `tensor ${key} is in two weight files`);
      index.set(key, { ...entry, file });
    }
  }
  return index;
}
