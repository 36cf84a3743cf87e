import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { withSourceLines } from './source-lines.ts';

/** Line 2 of the bundle is line 5 of the source. */
const MAP = { version: 3, sources: ['../../server/main.ts'], names: [], mappings: ';AAIA' };

it('names the lines of the source where there is a map, and leaves all else as it is', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kubembed-lines-'));
  const bundle = join(folder.path, 'main.js');
  await writeFile(`${bundle}.map`, JSON.stringify(MAP));
  await writeFile(join(folder.path, 'broken.js.map'), '{');
  const url = (name: string): string => pathToFileURL(join(folder.path, name)).href;
  const trace = (place: string): string =>
    `Error: no such thing\n    at start (${place})\n    at ${url('other.js')}:1:1\n    at ${url('broken.js')}:1:1\n    at node:fs:1:1`;
  expect(withSourceLines(trace(`${url('main.js')}:2:1`))).toBe(
    trace(`${join(folder.path, '../../server/main.ts')}:5:1`),
  );
});
