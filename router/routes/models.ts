// `GET /v1/models` and `GET /v1/models/{id}`: every name that is served, aliases included.
import type { Request } from 'express';
import type { Routes } from '../../common/http/app.ts';
import { sendJson } from '../../common/http/reply.ts';
import { modelNotFound } from '../../common/openai/errors.ts';
import { modelList, modelObject } from '../../common/openai/response.ts';
import type { ModelEntry } from '../../common/openai/response.ts';
import type { Gate } from '../admission/gate.ts';
import { notSynced } from '../admission/refusals.ts';
import { findModel } from '../routing/table.ts';
import type { RouteTable, ServedModel } from '../routing/table.ts';

const entry = (id: string, served: ServedModel): ModelEntry => {
  const { model, aliases, created, embedding, revision, endpoints, blocked } = served;
  return {
    id,
    created,
    ownedBy: model.includes('/') ? model.slice(0, model.indexOf('/')) : 'kubembed',
    details: {
      root: model,
      aliases,
      ready_endpoints: endpoints.length,
      ...(embedding && { dimensions: embedding.dimensions, max_tokens: embedding.maxTokens }),
      ...(revision !== undefined && { revision }),
      ...(blocked && { problem: `${blocked.reason}: ${blocked.message}` }),
    },
  };
};

/** The wildcard's segments, decoded: an id with a raw slash has two, with an escaped one it has one. */
const idOf = (request: Request): string => {
  const segments: unknown = request.params['model'];
  return Array.isArray(segments) ? segments.join('/') : String(segments);
};

export interface ModelsDeps {
  readonly table: () => RouteTable;
  readonly isSynced: () => boolean;
  readonly gate: Gate;
}

export const modelsRoutes = ({ table, isSynced, gate }: ModelsDeps): Routes => ({
  '/v1/models': {
    get: ({ headers }, response) => {
      if (!isSynced()) throw notSynced();
      const shown = [...table().byName].filter(([, served]) => gate.mayUse(headers, served));
      const entries = shown.map(([name, served]) => entry(name, served));
      sendJson(response, 200, modelList(entries));
    },
  },
  '/v1/models/*model': {
    get: (request, response) => {
      if (!isSynced()) throw notSynced();
      const id = idOf(request);
      const served = findModel(table(), id);
      if (served === undefined || !gate.mayUse(request.headers, served)) throw modelNotFound(id);
      // In the case in which it is served.
      const name = table().byName.has(id) ? id : served.names.find((one) => one.toLowerCase() === id.toLowerCase());
      sendJson(response, 200, modelObject(entry(name ?? id, served)));
    },
  },
});
