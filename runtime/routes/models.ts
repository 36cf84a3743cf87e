// `GET /v1/models` and `GET /v1/models/{id}`: the one model of this process.
import type { Request, Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import { sendJson } from '../../common/http/reply.ts';
import { modelNotFound } from '../../common/openai/errors.ts';
import { modelList, modelObject } from '../../common/openai/response.ts';
import type { ModelEntry } from '../../common/openai/response.ts';
import type { Lifecycle } from '../lifecycle.ts';

export interface ModelsDeps {
  readonly model: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly lifecycle: Lifecycle;
}

export function modelsHandler(deps: ModelsDeps): Handler {
  return (_request: Request, response: Response) => sendJson(response, 200, modelList([entry(deps)]));
}

/** The id's `/` comes escaped, or raw and then as several parts. */
export function modelHandler(deps: ModelsDeps): Handler {
  return (request: Request, response: Response) => {
    const parts: unknown = request.params['model'];
    const id = Array.isArray(parts) ? parts.join('/') : String(parts);
    if (id !== deps.model) throw modelNotFound(id);
    sendJson(response, 200, modelObject(entry(deps)));
  };
}

function entry({ model, created, lifecycle }: ModelsDeps): ModelEntry {
  const serving = lifecycle.serving();
  if (serving === undefined) return { id: model, created };
  const { dimensions, maxTokens, pooling, precision } = serving.engine.info;
  return {
    id: model,
    created,
    details: { revision: serving.revision, dimensions, max_tokens: maxTokens, pooling, precision },
  };
}
