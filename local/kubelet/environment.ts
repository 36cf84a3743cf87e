// The environment of a container as a child process: its own `env`, references resolved, over a base. Pure.
import type { Container, EnvVar } from '../../kube/resources.ts';

/** Looks up one key of a ConfigMap or Secret (decoded) in the pod's namespace. */
export interface References {
  readonly configMap: (name: string, key: string) => string | undefined;
  readonly secret: (name: string, key: string) => string | undefined;
  readonly field: (fieldPath: string) => string | undefined;
}

/** A reference that is not optional points at nothing; the kubelet reports it as CreateContainerConfigError. */
export class MissingReference extends Error {
  override readonly name = 'MissingReference';
}

type Resolver = (
  source: NonNullable<EnvVar['valueFrom']>,
  references: References,
) => { value: string | undefined; optional: boolean; what: string } | undefined;

const RESOLVERS: readonly Resolver[] = [
  ({ configMapKeyRef: ref }, { configMap }) =>
    ref && {
      value: configMap(ref.name, ref.key),
      optional: ref.optional ?? false,
      what: `key ${ref.key} of ConfigMap ${ref.name}`,
    },
  ({ secretKeyRef: ref }, { secret }) =>
    ref && {
      value: secret(ref.name, ref.key),
      optional: ref.optional ?? false,
      what: `key ${ref.key} of Secret ${ref.name}`,
    },
  ({ fieldRef: ref }, { field }) => ref && { value: field(ref.fieldPath), optional: true, what: ref.fieldPath },
  // A quota in a child process is the machine's own: leave the variable out.
  ({ resourceFieldRef: ref }) => ref && { value: undefined, optional: true, what: ref.resource },
];

function resolve(source: NonNullable<EnvVar['valueFrom']>, references: References): string | undefined {
  for (const resolver of RESOLVERS) {
    const found = resolver(source, references);
    if (found === undefined) continue;
    if (found.value === undefined && !found.optional) throw new MissingReference(`Missing ${found.what}`);
    return found.value;
  }
  return undefined;
}

/**
 * @param base what the child inherits
 * @param overrides what this machine decides (port, paths), whatever the manifest says
 * @throws MissingReference
 */
export function containerEnvironment(
  container: Container,
  references: References,
  base: Readonly<Record<string, string>>,
  overrides: Readonly<Record<string, string>>,
): Record<string, string> {
  const own: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    const resolved = valueFrom === undefined ? (value ?? '') : resolve(valueFrom, references);
    if (resolved !== undefined) own[name] = resolved;
  }
  return { ...base, ...own, ...overrides };
}
