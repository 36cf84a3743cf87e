// The status page, from files of this installation alone, and `GET /status.json`: the numbers it shows.
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { Request, Response } from 'express';
import { standingOf } from '../../api/conditions.ts';
import { modelKey, servedNames } from '../../api/names.ts';
import type { ModelActivity, ModelStatus, StatusDocument } from '../../api/status-document.ts';
import { withDefaults } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Handler, Routes } from '../../common/http/app.ts';
import { sendJson } from '../../common/http/exchange.ts';
import type { Caller } from '../auth/limits.ts';
import type { Model, Models } from '../models/model.ts';
import { Activity } from './activity.ts';

export interface StatusSources {
  readonly models: Pick<Models, 'isSynced'>;
  readonly byKey: ReadonlyMap<string, Model>;
  /** Every EmbeddingModel there is, those that are not accepted included. */
  readonly resources: () => readonly EmbeddingModel[];
  /** Of all models together. */
  readonly activity: Activity;
  readonly version: string;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Models that nobody may use, because they are not served, are shown only where no key is asked for. */
  readonly showsUnserved: boolean;
}

// The document

const IDLE: ModelActivity = { requests: 0, errors: 0, inputs: 0, tokens: 0, requestsPerSecond: 0, tokensPerSecond: 0 };

/** What the resource says of itself. */
const described = ({ metadata, spec, status }: EmbeddingModel) => ({
  name: metadata.name,
  namespace: metadata.namespace ?? '',
  model: spec.model,
  names: status?.servedNames ?? servedNames(spec),
  device: withDefaults(spec).device,
  ...status?.embedding,
  revision: status?.revision,
  createdAt: metadata.creationTimestamp,
});

const conditionsOf = ({ status }: EmbeddingModel): ModelStatus['conditions'] =>
  (status?.conditions ?? []).map(({ type, status: is, reason, message }) => ({ type, status: is, reason, message }));

/** What this router knows of it; nothing of one that is not served. */
const numbersOf = (model: Model | undefined) =>
  model === undefined
    ? { queued: 0, inFlight: 0, ...IDLE }
    : { queued: model.queue.size(), inFlight: model.balancer.inFlight(), ...(model.activity?.read() ?? IDLE) };

const modelStatus = (resource: EmbeddingModel, model: Model | undefined): ModelStatus => {
  const { spec, status } = resource;
  const ready = model?.served.endpoints.length ?? 0;
  return {
    ...described(resource),
    ...standingOf(resource, ready),
    replicas: { wanted: Math.max(ready, spec.replicas ?? status?.replicas ?? 0), ready },
    conditions: conditionsOf(resource),
    ...numbersOf(model),
  };
};

const byName = (a: ModelStatus, b: ModelStatus): number =>
  a.model.localeCompare(b.model) || a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);

// The page

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
  '/status/plot.js': ['plot.js', 'js'],
  '/status/try.js': ['try.js', 'js'],
  '/status/text.js': ['text.js', 'js'],
};

const file = (name: string, type: keyof typeof TYPES): Handler => {
  const path = fileURLToPath(new URL(`./page/${name}`, import.meta.url));
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

export const statusPages = (): Routes =>
  Object.fromEntries(Object.entries(FILES).map(([path, [name, type]]) => [path, { get: file(name, type) }]));

/** A key that may use only some models sees only these, and what they add up to. */
export const statusDocument = (
  sources: StatusSources,
): ((request: Request, response: Response, caller: Caller) => void) => {
  const { byKey, activity, version, now } = sources;
  const startedMs = now();

  const document = (caller: Caller): StatusDocument => {
    const isShown = (resource: EmbeddingModel): boolean => {
      const model = byKey.get(modelKey(resource));
      return model === undefined ? sources.showsUnserved : caller.mayUse(model.served);
    };
    const shown = sources.resources().filter(isShown);
    const seen = caller.seesAll
      ? activity
      : Activity.of(
          shown.flatMap((resource) => byKey.get(modelKey(resource))?.activity ?? []),
          now,
        );
    return {
      version,
      now: new Date().toISOString(),
      uptimeSeconds: Math.round((now() - startedMs) / 1000),
      synced: sources.models.isSynced(),
      models: shown.map((resource) => modelStatus(resource, byKey.get(modelKey(resource)))).sort(byName),
      totals: seen.read(),
      recent: seen.series(),
    };
  };

  return (_request, response, caller) => {
    response.setHeader('cache-control', 'no-store');
    sendJson(response, 200, document(caller));
  };
};
