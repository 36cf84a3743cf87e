// A fetching process for the tests to kill: ensureSnapshot with the options given as JSON in the first argument.
import { ensureSnapshot } from '../../hub/fetch.ts';
import type { EnsureOptions } from '../../hub/fetch-types.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as EnsureOptions;
const files = await ensureSnapshot({ ...options, onEvent: (event) => console.log(JSON.stringify(event)) });
console.log(JSON.stringify({ kind: 'done', revision: files.revision }));
