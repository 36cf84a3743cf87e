// Resources of the serving container: the spec's over the device's defaults, consistent, with the GPU, and the threads they allow.
import type { EmbeddingModelSpec, ResolvedSpec, ResourceRequirements } from '../../api/types.ts';
import type { DesiredConfig } from './config.ts';
import { parseQuantity } from './quantity.ts';

type Quantities = Readonly<Record<string, string>>;

export interface ContainerResources {
  readonly requests: Quantities;
  readonly limits: Quantities;
}

const asText = (quantities: ResourceRequirements['limits'] = {}): Quantities =>
  Object.fromEntries(Object.entries(quantities).map(([name, amount]) => [name, String(amount)]));

const isMore = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && (parseQuantity(a) ?? 0) > (parseQuantity(b) ?? 0);

/** Where a default request would exceed a limit (or the reverse), what the spec says wins: the API server refuses such pods. */
export function servingResources(
  spec: EmbeddingModelSpec,
  { device }: ResolvedSpec,
  config: DesiredConfig,
): ContainerResources {
  const defaults = config.profiles[device].resources;
  const own = { requests: asText(spec.resources?.requests), limits: asText(spec.resources?.limits) };
  const requests: Record<string, string> = { ...asText(defaults.requests), ...own.requests };
  const limits: Record<string, string> = { ...asText(defaults.limits), ...own.limits };
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    if (limit === undefined || !isMore(request, limit)) continue;
    if (own.limits[name] === undefined) limits[name] = request;
    else requests[name] = limit;
  }
  if (device === 'gpu') limits[config.gpuResource] ??= '1';
  return { requests, limits };
}

/** The fetching container needs no GPU: a pod would hold one while it downloads. */
export const fetchingResources = (
  { requests, limits }: ContainerResources,
  gpuResource: string,
): ContainerResources => {
  const without = (quantities: Quantities): Quantities =>
    Object.fromEntries(Object.entries(quantities).filter(([name]) => name !== gpuResource));
  return { requests: without(requests), limits: without(limits) };
};

/** Whole threads that the CPU limit can feed, rounded up; undefined without a limit: the runtime then asks its cgroup. */
export function threads({ limits }: ContainerResources): number | undefined {
  const cores = limits['cpu'] === undefined ? undefined : parseQuantity(limits['cpu']);
  return cores === undefined ? undefined : Math.max(1, Math.ceil(cores));
}
