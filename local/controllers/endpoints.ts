// The EndpointSlice controller of local mode: applies the slices that should exist and deletes its others.
import { isDeepStrictEqual } from 'node:util';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { formatKey, keyOf } from '../../kube/types.ts';
import { ENDPOINT_SLICES } from '../../kube/resources.ts';
import type { EndpointSlice, Pod, Service } from '../../kube/resources.ts';
import { SLICE_MANAGER, SLICE_MANAGER_LABEL } from '../names.ts';
import { desiredSlices } from './endpoints-plan.ts';

const same = (a: EndpointSlice, b: EndpointSlice): boolean =>
  isDeepStrictEqual([a.endpoints, a.ports, a.metadata.labels], [b.endpoints, b.ports, b.metadata.labels]);

/** @param existing every EndpointSlice; those that another keeps stay */
export async function reconcileEndpoints(
  services: readonly Service[],
  pods: readonly Pod[],
  existing: readonly EndpointSlice[],
  client: KubeClient,
): Promise<void> {
  const desired = desiredSlices(services, pods);
  const found = new Map(
    existing
      .filter(({ metadata }) => metadata.labels?.[SLICE_MANAGER_LABEL] === SLICE_MANAGER)
      .map((slice) => [formatKey(keyOf(slice)), slice]),
  );
  for (const slice of desired) {
    const key = formatKey(keyOf(slice));
    const current = found.get(key);
    found.delete(key);
    if (current === undefined || !same(current, slice))
      await client.apply(ENDPOINT_SLICES, slice, { fieldManager: SLICE_MANAGER, force: true });
  }
  for (const slice of found.values()) await ifPresent(client.delete(ENDPOINT_SLICES, keyOf(slice)));
}
