// The way to the hub as the chart's values have it, for the container that fetches: its variables, Secrets and certificates. Pure.
import type { EmbeddingModel, ResolvedSpec } from '../../api/types.ts';
import type { EnvVar } from '../../kube/resources.ts';
import type { ManifestConfig } from '../config.ts';

export const CERTIFICATES_VOLUME = 'certificates';
const CERTIFICATES_FOLDER = '/etc/kubembed/certificates';

interface HubParts {
  readonly model: EmbeddingModel;
  readonly spec: ResolvedSpec;
  readonly config: Pick<ManifestConfig, 'hub'>;
}

export const literal = (name: string, value: string): EnvVar => ({ name, value });

const fromSecret = (name: string, secret: { readonly name: string; readonly key: string }): EnvVar => ({
  name,
  valueFrom: { secretKeyRef: secret },
});

/** The chart's Secrets are in the namespaces of models, or are not: a namespace without one has models that need none. */
const fromOptionalSecret = (variable: string, name: string, key: string): EnvVar => ({
  name: variable,
  valueFrom: { secretKeyRef: { name, key, optional: true } },
});

export function tokenEnv({ model, config: { hub } }: HubParts): readonly EnvVar[] {
  const { tokenSecretRef } = model.spec;
  if (tokenSecretRef !== undefined)
    return [fromSecret('HF_TOKEN', { name: tokenSecretRef.name, key: tokenSecretRef.key ?? 'HF_TOKEN' })];
  return hub.tokenSecret === undefined
    ? []
    : [fromOptionalSecret('HF_TOKEN', hub.tokenSecret.name, hub.tokenSecret.key)];
}

/** User and password of the Secret's type `kubernetes.io/basic-auth`. */
const loginEnv = (prefix: string, secret: string | undefined): readonly EnvVar[] =>
  secret === undefined
    ? []
    : ['username', 'password'].map((key) => fromOptionalSecret(`${prefix}_${key.toUpperCase()}`, secret, key));

/** The way to the hub, as the chart has it. */
export function hubEnv({ config: { hub }, spec }: HubParts): readonly EnvVar[] {
  const { loginSecret, proxy, certificates } = hub;
  const literals: Readonly<Record<string, string | undefined>> = {
    HTTPS_PROXY: proxy?.url,
    HTTP_PROXY: proxy?.url,
    NO_PROXY: proxy?.noProxy,
    SSL_CERT_FILE: certificates && `${CERTIFICATES_FOLDER}/${certificates.key}`,
    // An image cannot be added to: what it lacks is told at once.
    HF_HUB_OFFLINE: spec.cache.image && '1',
  };
  return [
    ...Object.entries(literals).flatMap(([name, value]) => (value === undefined ? [] : [literal(name, value)])),
    ...loginEnv('KUBEMBED_HUB', loginSecret),
    ...loginEnv('KUBEMBED_PROXY', proxy?.secret),
  ];
}

/** Of the fetching container alone. Where a namespace lacks it, that container says which file is missing. */
export function certificatesVolume({ config: { hub } }: HubParts): readonly object[] {
  if (hub.certificates === undefined) return [];
  const { configMap, secret } = hub.certificates;
  const source =
    configMap === undefined
      ? { secret: { secretName: secret, optional: true } }
      : { configMap: { name: configMap, optional: true } };
  return [{ name: CERTIFICATES_VOLUME, ...source }];
}

export const certificatesMount = ({ config: { hub } }: HubParts): readonly object[] =>
  hub.certificates === undefined ? [] : [{ name: CERTIFICATES_VOLUME, mountPath: CERTIFICATES_FOLDER, readOnly: true }];
