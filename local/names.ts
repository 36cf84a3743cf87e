// Names that the parts of local mode share: the annotation, label and finalizer on pods that run as processes.

/** On a pod: the loopback port its process listens on. */
export const PORT_ANNOTATION = 'local.kubembed.dev/port';
/** Holds a deleted pod until its process is gone. */
export const POD_FINALIZER = 'local.kubembed.dev/process';
export const TEMPLATE_HASH_LABEL = 'pod-template-hash';
/** On an EndpointSlice: the Service it belongs to. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
/** On an EndpointSlice: who keeps it, as on a cluster; others' slices are left alone. */
export const SLICE_MANAGER_LABEL = 'endpointslice.kubernetes.io/managed-by';
export const SLICE_MANAGER = 'endpointslice-controller';
