// The documentation pages: the OpenAPI document, Swagger UI and Redoc, all from files of this installation, nothing from elsewhere.
import { createReadStream } from 'node:fs';
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
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>${head}</head><body>${body}</body></html>`;

// Relative addresses: the pages work behind any prefix.
const SWAGGER = page(
  'kubembed API',
  '<link rel="stylesheet" href="docs/swagger-ui.css"><style>body{margin:0}</style>',
  '<div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script>',
);
const SWAGGER_START = "SwaggerUIBundle({ url: 'openapi.json', dom_id: '#ui', deepLinking: true });";
const REDOC = page(
  'kubembed API',
  '<style>body{margin:0}</style>',
  '<redoc spec-url="openapi.json" disable-google-font="true"></redoc><script src="redoc/redoc.standalone.js"></script>',
);

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
    '/redoc/redoc.standalone.js': { get: file(JAVASCRIPT, () => require.resolve('redoc/bundles/redoc.standalone.js')) },
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

function installed(locate: () => string): string {
  try {
    return locate();
  } catch (cause) {
    throw new OpenAIError('unknown_url', 'This installation came without the documentation pages; see /openapi.json.', {
      cause,
    });
  }
}
