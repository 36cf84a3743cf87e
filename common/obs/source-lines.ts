// Lines of the sources in the stack traces of a bundle, looked up when a trace is written. Node can do it (--enable-source-maps), but reads
// the map of each file that it loads: a tenth of a second of every start, and 10 MB that stay.
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

/** `file:///app/dist/router/main.js:12:34` */
const PLACE = /(file:\/\/[^\s()]+\.js):(\d+):(\d+)/g;

type MapPayload = ConstructorParameters<typeof SourceMap>[0];

const maps = new Map<string, SourceMap | undefined>();

/** Undefined where there is no map beside the file. */
function mapOf(file: string): SourceMap | undefined {
  if (!maps.has(file)) maps.set(file, readMap(file));
  return maps.get(file);
}

function readMap(file: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(new URL(`${file}.map`), 'utf8')) as MapPayload);
  } catch {
    return undefined;
  }
}

/** The same trace; what has no map stays as it is. */
export const withSourceLines = (stack: string): string =>
  stack.replaceAll(PLACE, (place: string, file: string, line: string, column: string) => {
    const origin = mapOf(file)?.findOrigin(Number(line), Number(column));
    if (origin === undefined || !('fileName' in origin)) return place;
    return `${fileURLToPath(new URL(origin.fileName, file))}:${origin.lineNumber}:${origin.columnNumber}`;
  });
