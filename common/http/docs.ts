// The documentation pages: the OpenAPI document, Swagger UI and Redoc, all from files of this installation, nothing from elsewhere.
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';
import { OpenAIError } from '../openai/errors.ts';
import type { Routes } from './app.ts';
import { sendJson } from './exchange.ts';

// Redoc searches in a worker made from a blob and styles inline; images of other sites stay out.
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:";

const page = (title: string, head: string, body: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><link rel=icon href=data:,>${head}</head><body>${body}</body></html>`;

// Relative addresses: the pages work behind any prefix.
const SWAGGER = page(
  'kubembed API',
  '<link rel="stylesheet" href="docs/swagger-ui.css"><style>body{margin:0}</style>',
  '<div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script>',
);
const DARK = "const dark = matchMedia('(prefers-color-scheme: dark)').matches;";
const SWAGGER_START = `${DARK}
document.documentElement.classList.toggle('dark-mode', dark);
SwaggerUIBundle({ url: 'openapi.json', dom_id: '#ui', deepLinking: true, tryItOutEnabled: true });`;
const REDOC = page(
  'kubembed API',
  '<style>body{margin:0}@media(prefers-color-scheme:dark){body{background:#16181d}#ui h5,#ui h5 *{color:#aab2bf!important}#ui .react-tabs__tab--selected{background:#2a2e36!important;color:#e3e6eb!important}}</style>',
  '<div id="ui"></div><script src="redoc/redoc.standalone.js"></script><script src="redoc/start.js"></script>',
);
const REDOC_DARK = {
  colors: {
    primary: { main: '#7fb4ff' },
    text: { primary: '#e3e6eb', secondary: '#aab2bf' },
    border: { dark: '#3a3f4a', light: '#2a2e36' },
    http: { get: '#3d9a5b', post: '#3f78c4' },
    responses: {
      success: { color: '#7fd79a', backgroundColor: '#1c2b22' },
      error: { color: '#ff9a9a', backgroundColor: '#2e1f22' },
    },
  },
  schema: { nestedBackground: '#1d2027', typeNameColor: '#aab2bf', typeTitleColor: '#aab2bf', linesColor: '#4a5568' },
  sidebar: { backgroundColor: '#1b1e24', textColor: '#e3e6eb' },
  typography: { code: { color: '#ffb3a7', backgroundColor: '#22262e' }, links: { color: '#7fb4ff' } },
  rightPanel: { backgroundColor: '#101216' },
};
const REDOC_START = `${DARK}
Redoc.init('openapi.json', { disableGoogleFont: true, theme: dark ? ${JSON.stringify(REDOC_DARK)} : {} }, document.getElementById('ui'));`;
/** Its makers' logo, which the bundle would have every reader's browser fetch. */
const LOGO = 'https://cdn.redoc.ly/redoc/logo-mini.svg';
const NO_PICTURE = 'data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=';

// Named in full, so that tools which follow imports see what these pages need.
const require = createRequire(import.meta.url);

const JAVASCRIPT = 'text/javascript; charset=utf-8';

export function docsRoutes(document: Readonly<Record<string, unknown>>): Routes {
  return {
    '/openapi.json': { get: (_request, response) => sendJson(response, 200, document) },
    '/docs': { get: text('text/html; charset=utf-8', SWAGGER) },
    '/docs/start.js': { get: text(JAVASCRIPT, SWAGGER_START) },
    '/docs/swagger-ui.css': {
      get: file('text/css; charset=utf-8', () => require.resolve('swagger-ui-dist/swagger-ui.css')),
    },
    '/docs/swagger-ui-bundle.js': {
      get: file(JAVASCRIPT, () => require.resolve('swagger-ui-dist/swagger-ui-bundle.js')),
    },
    '/redoc': { get: text('text/html; charset=utf-8', REDOC) },
    '/redoc/start.js': { get: text(JAVASCRIPT, REDOC_START) },
    '/redoc/redoc.standalone.js': { get: redocBundle },
  };
}

function guard(response: Response, type: string): void {
  response.setHeader('content-type', type);
  response.setHeader('content-security-policy', POLICY);
  response.setHeader('x-content-type-options', 'nosniff');
}

function text(type: string, body: string): (request: Request, response: Response) => void {
  return (_request, response) => {
    guard(response, type);
    response.end(body);
  };
}

function file(type: string, locate: () => string): (request: Request, response: Response) => Promise<void> {
  return async (request, response) => {
    const path = installed(locate);
    guard(response, type);
    response.setHeader('cache-control', 'public, max-age=3600');
    if (request.method === 'HEAD') response.end();
    else await pipeline(createReadStream(path), response);
  };
}

async function redocBundle(_request: Request, response: Response): Promise<void> {
  const path = installed(() => require.resolve('redoc/bundles/redoc.standalone.js'));
  const bundle = (await readFile(path, 'utf8')).replaceAll(LOGO, NO_PICTURE);
  guard(response, JAVASCRIPT);
  response.setHeader('cache-control', 'public, max-age=3600');
  response.end(bundle);
}

function installed(locate: () => string): string {
  try {
    return locate();
  } catch (cause) {
    throw new OpenAIError('unknown_url', 'This installation came without the documentation pages; see /openapi.json.', {
      cause,
    });
  }
}
