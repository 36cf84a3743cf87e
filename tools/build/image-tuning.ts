// The settings of Node and glibc that an image gives its process, for who measures what is shipped.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Folders are the image's own. */
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

type Dockerfile = 'Dockerfile.runtime' | 'Dockerfile.runtime-gpu' | 'Dockerfile.operator';

const ROOT = join(import.meta.dirname, '..', '..');

export const imageTuning = (dockerfile: Dockerfile, checkout = ROOT): Record<string, string> =>
  tuningOf(readFileSync(join(checkout, dockerfile), 'utf8'));
