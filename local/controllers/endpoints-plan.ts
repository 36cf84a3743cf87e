// Services and pods → the EndpointSlices that should exist: one slice per pod, since every process has its own port. Pure.
import type { EndpointSlice, Pod, Service } from '../../kube/resources.ts';
import { PORT_ANNOTATION, SERVICE_NAME_LABEL, SLICE_MANAGER, SLICE_MANAGER_LABEL } from '../names.ts';

const matches = (selector: Readonly<Record<string, string>>, pod: Pod): boolean =>
  Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value);

const isPodReady = (pod: Pod): boolean =>
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

function sliceFor(service: Service, pod: Pod, port: number): EndpointSlice {
  const { namespace = '', labels = {} } = service.metadata;
  const ready = isPodReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service.metadata.name}-${pod.metadata.name}`,
      namespace,
      labels: { ...labels, [SERVICE_NAME_LABEL]: service.metadata.name, [SLICE_MANAGER_LABEL]: SLICE_MANAGER },
    },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: ['127.0.0.1'],
        conditions: { ready: ready && !terminating, serving: ready, terminating },
        targetRef: {
          kind: 'Pod',
          name: pod.metadata.name,
          ...(pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid }),
        },
      },
    ],
    ports: (service.spec.ports ?? []).map(({ name }) => ({ ...(name === undefined ? {} : { name }), port })),
  };
}

/** A headless or external Service without a selector gets none. */
export function desiredSlices(services: readonly Service[], pods: readonly Pod[]): EndpointSlice[] {
  return services.flatMap((service) => {
    const { selector } = service.spec;
    if (selector === undefined || service.metadata.deletionTimestamp !== undefined) return [];
    return pods
      .filter((pod) => pod.metadata.namespace === service.metadata.namespace && matches(selector, pod))
      .flatMap((pod) => {
        const port = Number(pod.metadata.annotations?.[PORT_ANNOTATION]);
        return Number.isInteger(port) && port > 0 ? [sliceFor(service, pod, port)] : [];
      });
  });
}
