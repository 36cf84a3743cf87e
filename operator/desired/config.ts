// What desired manifests need beside the spec: images, per-device defaults, limits. Types only; `operator/config.ts` fills it.
import type { Device, ResourceRequirements } from '../../api/types.ts';
import type { EnvVar } from '../../kube/resources.ts';

/** Defaults of one device kind; what a spec says wins field by field. */
export interface DeviceProfile {
  readonly image: string;
  readonly resources: ResourceRequirements;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly object[];
  readonly affinity?: object;
  readonly runtimeClassName?: string;
  readonly priorityClassName?: string;
}

export interface DesiredConfig {
  readonly profiles: Readonly<Record<Device, DeviceProfile>>;
  readonly imagePullPolicy: 'IfNotPresent' | 'Always' | 'Never';
  readonly imagePullSecrets: readonly { readonly name: string }[];
  /** Extended resource that one GPU replica takes one of. */
  readonly gpuResource: string;
  readonly port: number;
  /** Pod template labels and annotations from values (scraping, meshes). */
  readonly podLabels: Readonly<Record<string, string>>;
  readonly podAnnotations: Readonly<Record<string, string>>;
  /** For the fetching container alone: HF_ENDPOINT, proxies. */
  readonly fetchEnv: readonly EnvVar[];
  /** For the serving container: log level, queue limits. */
  readonly serveEnv: readonly EnvVar[];
  /** Longest time in seconds a replica may take from start of `serve` to ready. */
  readonly startupSeconds: number;
  /** Time in seconds that endpoints get to forget a pod before it stops taking requests. */
  readonly preStopSeconds: number;
  /** Time in seconds running requests get after that. */
  readonly drainSeconds: number;
}
