// What a podTemplate may not say: what cannot be merged, what is the operator's to set, and what only the chart may allow. Each fault
// names its field. Pure.
import { FETCH_CONTAINER, LABEL_COMPONENT, LABEL_MANAGED_BY, LABEL_MODEL, SERVE_CONTAINER } from '../../api/names.ts';
import { isRecord } from '../../common/util/text.ts';
import { POD_TEMPLATE, overlayFaults } from './overlay.ts';
import { beyondBaseline } from './pod-security.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Which model is served and how follows from the spec, which is checked against the list; the rest has fields or values of its own. */
const RESERVED_VARIABLES: ReadonlySet<string> = new Set([
  'KUBEMBED_MODEL',
  'KUBEMBED_REVISION',
  'KUBEMBED_RESOLVED_REVISION',
  'KUBEMBED_STORE',
  'KUBEMBED_DEVICE',
  'KUBEMBED_PRECISION',
  'KUBEMBED_POOLING',
  'KUBEMBED_PROMPTS',
  'KUBEMBED_OVERLONG_INPUT',
  'KUBEMBED_PORT',
  'KUBEMBED_DRAIN_SECONDS',
]);

export const isReservedVariable = (name: string): boolean => RESERVED_VARIABLES.has(name);

/** By which Services, policies and caches find the pods. */
const RESERVED_LABELS: ReadonlySet<string> = new Set([
  LABEL_MODEL,
  LABEL_MANAGED_BY,
  LABEL_COMPONENT,
  'app.kubernetes.io/name',
]);

/** By list: the container that is the operator's. */
const OWN_CONTAINERS = { initContainers: FETCH_CONTAINER, containers: SERVE_CONTAINER } as const;

const CLOSED = 'the chart does not allow it (runtime.openPodTemplates)';
const CLOSED_IN_POD = ['serviceAccountName', 'serviceAccount'] as const;
const CLOSED_IN_CONTAINER = ['image', 'command', 'args'] as const;

const fieldsOf = (value: unknown): Fields => (isRecord(value) ? value : {});
const itemsOf = (value: unknown): readonly Fields[] => (Array.isArray(value) ? value.map(fieldsOf) : []);

const closedFaults = (fields: Fields, names: readonly string[], path: string): readonly string[] =>
  names.filter((name) => name in fields).map((name) => `${path}.${name}: ${CLOSED}`);

function ownContainerFaults(container: Fields, path: string, isOpen: boolean): readonly string[] {
  const reserved = itemsOf(container['env']).flatMap(({ name }, index) =>
    typeof name === 'string' && isReservedVariable(name)
      ? [`${path}.env[${index}]: ${name} is the operator's to set`]
      : [],
  );
  const goes = container['$patch'] === 'delete' || container['$patch'] === 'replace';
  return [
    ...(goes ? [`${path}: this container cannot be taken away`] : []),
    ...reserved,
    ...(isOpen ? [] : closedFaults(container, CLOSED_IN_CONTAINER, path)),
  ];
}

function containerFaults(pod: Fields, list: keyof typeof OWN_CONTAINERS, isOpen: boolean): readonly string[] {
  const own = OWN_CONTAINERS[list];
  if (list in pod && !Array.isArray(pod[list])) return [`spec.${list}: container ${own} cannot be taken away`];
  return itemsOf(pod[list]).flatMap((container, index) => {
    const path = `spec.${list}[${index}]`;
    if (container['name'] === own) return ownContainerFaults(container, path, isOpen);
    if (container['name'] === undefined) return [`${path}: container ${own} cannot be taken away`];
    return isOpen ? [] : [`${path}.name: ${JSON.stringify(container['name'])} would be another container; ${CLOSED}`];
  });
}

/** @param isOpen whether it may do all that a pod template can: the chart's may, others where the chart says so */
export function templateFaults(template: unknown, { isOpen }: { readonly isOpen: boolean }): readonly string[] {
  const faults = overlayFaults(template, POD_TEMPLATE);
  if (faults.length > 0) return faults;
  const { metadata, spec } = fieldsOf(template);
  const pod = fieldsOf(spec);
  if (pod['$patch'] !== undefined) return ['spec.$patch: the pod itself cannot be replaced'];
  return [
    ...Object.keys(fieldsOf(fieldsOf(metadata)['labels']))
      .filter((label) => RESERVED_LABELS.has(label))
      .map((label) => `metadata.labels[${label}]: is the operator's to set`),
    ...containerFaults(pod, 'initContainers', isOpen),
    ...containerFaults(pod, 'containers', isOpen),
    ...(isOpen
      ? []
      : [
          ...closedFaults(pod, CLOSED_IN_POD, 'spec'),
          ...beyondBaseline({ annotations: fieldsOf(fieldsOf(metadata)['annotations']), pod }).map(
            (field) => `${field}: ${CLOSED}`,
          ),
        ]),
  ];
}
