// Reads rows of a word table out of its weight file as runs need them: sessions that each mapped the table would each count it as theirs.
import { closeSync, openSync, readSync } from 'node:fs';
import { EngineError } from './errors.ts';

/** Rows of float32, little-endian as safetensors has them. */
export interface WordRowsSource {
  readonly path: string;
  /** Of the first row, from the start of the file. */
  readonly byteOffset: number;
  readonly rows: number;
  readonly width: number;
}

export interface WordRows {
  readonly width: number;
  /** `[words, width]`, valid until the next read. */
  read(words: Int32Array): Float32Array;
  close(): void;
}

/**
 * The file is read through the page cache, which all processes of a machine share and which the kernel takes back when it must.
 * A thread that ends closes it, too.
 */
export function openWordRows({ path, byteOffset, rows, width }: WordRowsSource): WordRows {
  const file = openSync(path, 'r');
  const rowBytes = width * Float32Array.BYTES_PER_ELEMENT;
  let held = new Float32Array(0);
  return {
    width,
    read(words) {
      if (held.length < words.length * width) held = new Float32Array(words.length * width);
      const bytes = new Uint8Array(held.buffer);
      for (const [place, word] of words.entries()) {
        if (word < 0 || word >= rows) throw new EngineError('worker_failed', `There is no word ${word} of ${rows}.`);
        const read = readSync(file, bytes, place * rowBytes, rowBytes, byteOffset + word * rowBytes);
        if (read < rowBytes) throw new EngineError('worker_failed', `${path} ends before the row of word ${word}.`);
      }
      return held.subarray(0, words.length * width);
    },
    close: () => closeSync(file),
  };
}
