// The environment that an image gives its process: what is measured runs as what is shipped.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What tunes Node and glibc; folders are the bench's own. */
const TUNING = /^(?:NODE_(?!COMPILE_CACHE$)|MALLOC_|GLIBC_)/;
const SETTING = /([A-Z_]+)=(?:"([^"]*)"|(\S+))/g;

export const tuningOf = (dockerfile: string): Record<string, string> =>
  Object.fromEntries(
    dockerfile
      .split('\n')
      .filter((line) => line.startsWith('ENV '))
      .flatMap((line) => [...line.matchAll(SETTING)])
      .map(([, name = '', quoted, plain = '']) => [name, quoted ?? plain] as const)
      .filter(([name]) => TUNING.test(name)),
  );

export const imageTuning = (dockerfile: 'Dockerfile.runtime' | 'Dockerfile.runtime-gpu'): Record<string, string> =>
  tuningOf(readFileSync(fileURLToPath(new URL(`../../${dockerfile}`, import.meta.url)), 'utf8'));
