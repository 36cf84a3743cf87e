// The package's version, for the OpenAPI document and `--version`.
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
