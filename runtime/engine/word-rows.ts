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

/** Kept of the rows that were read last: a language uses few of its words most of the time. */
const KEPT_BYTES = 3 << 20;

/**
 * The file is read through the page cache, which all processes of a machine share and which the kernel takes back when it must.
 * A thread that ends closes it, too.
 */
export function openWordRows({ path, byteOffset, rows, width }: WordRowsSource): WordRows {
  const file = openSync(path, 'r');
  const rowBytes = width * Float32Array.BYTES_PER_ELEMENT;
  const places = Math.min(rows, Math.max(1, Math.floor(KEPT_BYTES / rowBytes)));
  const kept = new Float32Array(places * width);
  const keptBytes = new Uint8Array(kept.buffer);
  /** Every word has one place where it may be kept, and shares it with others. */
  const wordAt = new Int32Array(places).fill(-1);
  let asked = new Float32Array(0);

  function keep(word: number): number {
    const place = word % places;
    if (wordAt[place] === word) return place;
    if (word < 0 || word >= rows) throw new EngineError('worker_failed', `There is no word ${word} of ${rows}.`);
    wordAt[place] = -1;
    const read = readSync(file, keptBytes, place * rowBytes, rowBytes, byteOffset + word * rowBytes);
    if (read < rowBytes) throw new EngineError('worker_failed', `${path} ends before the row of word ${word}.`);
    wordAt[place] = word;
    return place;
  }

  return {
    width,
    read(words) {
      if (asked.length < words.length * width) asked = new Float32Array(words.length * width);
      for (const [index, word] of words.entries()) {
        const from = keep(word) * width;
        asked.set(kept.subarray(from, from + width), index * width);
      }
      return asked.subarray(0, words.length * width);
    },
    close: () => closeSync(file),
  };
}
