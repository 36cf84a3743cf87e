// `npm run bench -- router`: what the router adds to a request, how it splits and refuses, and that its memory stays flat.
import { benchRouter } from './router/main.ts';
import { readRouterOptions } from './router/options.ts';

await benchRouter(readRouterOptions(process.argv.slice(2)));
