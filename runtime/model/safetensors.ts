// Reads the headers of safetensors files: which tensors there are and where their bytes lie. Never the weights.
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { ModelError } from '../../hub/files.ts';
import type { TensorDtype, TensorEntry } from '../graph/weights.ts';

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

const DTYPE_BYTES: Readonly<Record<TensorDtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

const count = z.number().int().nonnegative();
const headerSchema = z.record(
  z.string(),
  z.object({
    dtype: z.enum(Object.keys(DTYPE_BYTES) as TensorDtype[]),
    shape: z.array(count),
    data_offsets: z.tuple([count, count]),
  }),
);

const corrupt = (file: string, what: string) => new ModelError('CorruptWeights', `${file}: ${what}`);

function checkExtents(file: string, entries: readonly [string, TensorEntry][], fileBytes: number): void {
  let end = 0;
  for (const [name, entry] of [...entries].sort(([, a], [, b]) => a.byteOffset - b.byteOffset)) {
    const expected = entry.shape.reduce((product, dim) => product * dim, DTYPE_BYTES[entry.dtype]);
    if (entry.byteLength !== expected) {
      throw corrupt(file, `tensor ${name} has ${entry.byteLength} bytes, its shape and type need ${expected}`);
    }
    if (entry.byteOffset < end) throw corrupt(file, `tensor ${name} overlaps another`);
    end = entry.byteOffset + entry.byteLength;
    if (end > fileBytes) throw corrupt(file, `tensor ${name} ends at ${end}, beyond the file's ${fileBytes} bytes`);
  }
}

/** `header` is the JSON alone; `file` is the location that the entries will carry. */
export function parseHeader(header: Uint8Array, file: string, fileBytes: number): Map<string, TensorEntry> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch {
    throw corrupt(file, 'the safetensors header is not JSON');
  }
  if (typeof json === 'object' && json !== null) delete (json as Record<string, unknown>)['__metadata__'];
  const parsed = headerSchema.safeParse(json);
  if (!parsed.success) throw corrupt(file, `the safetensors header is invalid: ${z.prettifyError(parsed.error)}`);
  const start = LENGTH_BYTES + header.byteLength;
  const entries = Object.entries(parsed.data).map(([name, tensor]): [string, TensorEntry] => {
    const [from, to] = tensor.data_offsets;
    const { dtype, shape } = tensor;
    return [name, { file, dtype, shape, byteOffset: start + from, byteLength: to - from }];
  });
  checkExtents(file, entries, fileBytes);
  return new Map(entries);
}

export async function readHeader(path: string, file: string): Promise<Map<string, TensorEntry>> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const prefix = new Uint8Array(LENGTH_BYTES);
    const { bytesRead } = await handle.read(prefix, 0, LENGTH_BYTES, 0);
    const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
    if (bytesRead < LENGTH_BYTES || length > MAX_HEADER_BYTES || LENGTH_BYTES + length > size) {
      throw corrupt(file, 'not a safetensors file, or cut short');
    }
    const header = new Uint8Array(length);
    await handle.read(header, 0, length, LENGTH_BYTES);
    return parseHeader(header, file, size);
  } finally {
    await handle.close();
  }
}
