// Which routers exist: addresses from the EndpointSlices of their Service. Pure.
import type { EndpointSlice } from '../../kube/resources.ts';

const isUsable = (address: string): boolean => address !== '';

/**
 * Terminating routers count while they serve: what they hold is demand. Not-ready ones count too, for they may have been
 * ready a moment ago.
 *
 * @returns `host:port`, sorted, each once
 */
export function routerAddresses(slices: readonly EndpointSlice[], portName: string): readonly string[] {
  const found = slices.flatMap(({ ports, endpoints, addressType }) => {
    const port = ports?.find(({ name }) => name === portName)?.port;
    if (port === undefined) return [];
    return (endpoints ?? [])
      .filter(({ conditions }) => conditions?.terminating !== true || conditions.serving === true)
      .flatMap(({ addresses }) => addresses.filter(isUsable).slice(0, 1))
      .map((address) => (addressType === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`));
  });
  return [...new Set(found)].sort();
}
