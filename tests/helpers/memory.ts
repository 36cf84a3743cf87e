// Memory of a process as the kernel counts it, and a load of requests of every length to watch it under.
import { readFile } from 'node:fs/promises';
import { seededRandom } from '../../bench/runtime/corpora.ts';

type Field = 'VmRSS' | 'VmHWM';

/** Resident bytes now (`VmRSS`), or the most there ever were (`VmHWM`). */
export async function residentBytes(pid: number, field: Field): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(String.raw`${field}:\s+(\d+) kB`).exec(status)?.[1]) * 1024;
}

export interface SoakOptions {
  readonly url: string;
  readonly pid: number;
  readonly model: string;
  readonly requests: number;
  /** Longest text, in words of one letter. */
  readonly mostWords: number;
}

const CLIENTS = 8;
const MAX_INPUTS = 6;
export const SAMPLES = 100;

/** Random numbers of inputs of random lengths; resident bytes after each hundredth of the requests. */
export async function soak({ url, pid, model, requests, mostWords }: SoakOptions): Promise<number[]> {
  const random = seededRandom(11);
  const upTo = (most: number): number => 1 + Math.floor(random() * most);
  const letters = (count: number): string =>
    Array.from({ length: count }, () => String.fromCharCode(96 + upTo(26))).join(' ');
  const samples: number[] = [];
  let sent = 0;
  let answered = 0;
  const client = async (): Promise<void> => {
    while (sent++ < requests) {
      const input = Array.from({ length: upTo(MAX_INPUTS) }, () => letters(upTo(mostWords)));
      const response = await fetch(`${url}/v1/embeddings`, {
        method: 'POST',
        body: JSON.stringify({ model, input, encoding_format: 'base64' }),
        headers: { 'content-type': 'application/json' },
      });
      if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
      await response.arrayBuffer();
      if (++answered % (requests / SAMPLES) === 0) samples.push(await residentBytes(pid, 'VmRSS'));
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return samples;
}
