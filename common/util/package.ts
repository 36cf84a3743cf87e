// Where this package's things are, in the source and once bundled: its version, the files of its threads.
import { readFileSync } from 'node:fs';

/** In a bundle, `dist/PROCESS` stands for the project's folder. */
const PLACES = ['../../package.json', '../../../../package.json'];

export function packageVersion(): string {
  for (const place of PLACES) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as Record<
        string,
        unknown
      >;
      if (name === 'kubembed' && typeof version === 'string') return version;
    } catch {
      // Not there: the next place.
    }
  }
  return '0.0.0';
}

/**
 * Where a worker thread's file is: `.ts` when run as written, `.js` once bundled (the bundler leaves addresses as they are).
 * Give it `new URL('./x.ts', import.meta.url)`, so that the bundler and tools which follow imports find the file.
 */
export function threadUrl(source: URL, own: string = import.meta.url): URL {
  return own.endsWith('.ts') ? source : new URL(source.href.replace(/\.ts$/, '.js'));
}
