// The view of a router: its `status.json`, or where that is switched off its list of models.
import type { ModelStatus, StatusDocument } from '../../api/status-document.ts';
import { getJson, readModels } from '../endpoint.ts';
import type { Endpoint, ListedModel } from '../endpoint.ts';
import type { ModelRow, StatusView } from './view.ts';

const secondsSince = (timestamp: string | undefined, nowMs: number): number | undefined =>
  timestamp === undefined ? undefined : Math.max(0, (nowMs - Date.parse(timestamp)) / 1000);

export const rowOfStatus = (model: ModelStatus, nowMs: number): ModelRow => {
  const { requestsPerSecond, tokensPerSecond, latencyMs, queued, inFlight, replicas, createdAt } = model;
  const ageSeconds = secondsSince(createdAt, nowMs);
  return {
    model: model.model,
    resource: `${model.namespace}/${model.name}`,
    device: model.device,
    state: model.state,
    reason: model.reason,
    message: model.message,
    ready: replicas.ready,
    wanted: replicas.wanted,
    ...(ageSeconds !== undefined && { ageSeconds }),
    conditions: model.conditions,
    load: { requestsPerSecond, tokensPerSecond, held: queued, inFlight, ...(latencyMs && { latencyMs }) },
  };
};

const rowOfListed = ({ id, root, ready_endpoints: ready = 0, problem }: ListedModel): ModelRow => {
  const [reason = '', ...words] = (problem ?? '').split(': ');
  const known = { model: root ?? id, ready, conditions: [] };
  if (problem !== undefined) return { ...known, state: 'failed', reason, message: words.join(': ') };
  return ready > 0
    ? { ...known, state: 'ready', reason: 'Ready', message: 'Requests are answered.' }
    : { ...known, state: 'asleep', reason: 'NoEndpoint', message: 'No replica serves; a request wakes it.' };
};

/** Aliases are names of the same model, not further models. */
const isOwnName = ({ id, root }: ListedModel): boolean => root === undefined || root === id;

export async function viewOfRouter(endpoint: Endpoint, signal: AbortSignal): Promise<StatusView> {
  const status = await getJson<StatusDocument>(endpoint, '/status.json', signal);
  const view = { source: endpoint.url, kind: 'router' } as const;
  if (status === undefined) {
    const listed = await readModels(endpoint, signal);
    return { ...view, models: listed.filter(isOwnName).map(rowOfListed) };
  }
  const nowMs = Date.parse(status.now);
  return { ...view, models: status.models.map((model) => rowOfStatus(model, nowMs)) };
}
