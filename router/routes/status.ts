// `GET /` and `GET /status.json`: the status page, from files of this installation alone, and the numbers it shows.
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { Request } from 'express';
import type { Handler, Routes } from '../../common/http/app.ts';
import { sendJson } from '../../common/http/reply.ts';
import { modelKey } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Gate } from '../admission/gate.ts';
import type { Gauges } from '../metrics.ts';
import type { RouteTable } from '../routing/table.ts';
import type { Activity } from '../status/activity.ts';
import { statusDocument } from '../status/document.ts';

export interface StatusSources {
  readonly resources: () => readonly EmbeddingModel[];
  readonly gauges: Pick<Gauges, 'held' | 'inFlight'>;
  readonly activity: Activity;
}

export interface StatusDeps {
  readonly status: StatusSources;
  readonly table: () => RouteTable;
  readonly isSynced: () => boolean;
  readonly gate: Gate;
  readonly version: string;
  readonly now: () => number;
}

// Nothing inline, nothing from elsewhere; the icon alone is in its own address.
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
} as const;

/** Path → file of `router/status/page/`. Relative addresses in the page: it works behind any prefix. */
const FILES: Readonly<Record<string, readonly [name: string, type: keyof typeof TYPES]>> = {
  '/': ['index.html', 'html'],
  '/status/page.css': ['page.css', 'css'],
  '/status/page.js': ['page.js', 'js'],
  '/status/models.js': ['models.js', 'js'],
  '/status/plot.js': ['plot.js', 'js'],
  '/status/try.js': ['try.js', 'js'],
  '/status/text.js': ['text.js', 'js'],
};

const file = (name: string, type: keyof typeof TYPES): Handler => {
  const path = fileURLToPath(new URL(`../status/page/${name}`, import.meta.url));
  return async (request, response) => {
    response.setHeader('content-type', TYPES[type]);
    response.setHeader('content-security-policy', POLICY);
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('referrer-policy', 'no-referrer');
    response.setHeader('cache-control', 'no-cache');
    if (request.method === 'HEAD') response.end();
    else await pipeline(createReadStream(path), response);
  };
};

export const STATUS_JSON = '/status.json';

export const statusRoutes = ({ status, table, isSynced, gate, version, now }: StatusDeps): Routes => {
  const startedMs = now();
  const { resources, gauges, activity } = status;
  /** A key that may use only some models sees only these. */
  const isShown = (request: Request, resource: EmbeddingModel): boolean => {
    const served = table().byKey.get(modelKey(resource));
    return served === undefined ? gate.isOpen : gate.mayUse(request.headers, served);
  };
  const tell: Handler = (request, response) => {
    response.setHeader('cache-control', 'no-store');
    const document = statusDocument({
      resources: resources().filter((resource) => isShown(request, resource)),
      table: table(),
      numbers: { held: gauges.held(), inFlight: gauges.inFlight() },
      activity,
      version,
      nowMs: Date.now(),
      uptimeMs: now() - startedMs,
      synced: isSynced(),
    });
    sendJson(response, 200, document);
  };
  const pages = Object.entries(FILES).map(([path, [name, type]]) => [path, { get: file(name, type) }]);
  return { ...(Object.fromEntries(pages) as Routes), [STATUS_JSON]: { get: tell } };
};
