// A fetching process for the tests to kill: fetchSnapshot with the options given as JSON in the first argument.
import { fetchSnapshot } from '../../hub/fetch.ts';
import type { FetchOptions } from '../../hub/fetch.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as FetchOptions;
const files = await fetchSnapshot({ ...options, onEvent: (event) => console.log(JSON.stringify(event)) });
console.log(JSON.stringify({ kind: 'done', revision: files.revision }));
