// What Pod Security's baseline level forbids, by field. Who may write an EmbeddingModel may not thereby get pods that they may not
// make themselves: the operator makes them, and a namespace need not have that level. Pure.
import { isRecord } from '../../common/util/text.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Whether the level forbids the value. Undefined and null say nothing. */
type Forbids = (value: unknown) => boolean;

const isTrue: Forbids = (value) => value === true;
const isAny: Forbids = () => true;
const isNot =
  (...allowed: readonly unknown[]): Forbids =>
  (value) =>
    !allowed.includes(value);
const holds =
  (...allowed: readonly unknown[]): Forbids =>
  (value) =>
    Array.isArray(value) && value.some((item) => !allowed.includes(item));

const CAPABILITIES = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];
const SYSCTLS = [
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.tcp_wmem',
];
const PROFILES = ['RuntimeDefault', 'Localhost'];
const SELINUX_TYPES = ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'];

/** Of a pod's security context and of a container's. */
const CONTEXT: Readonly<Record<string, Forbids>> = {
  'appArmorProfile.type': isNot(...PROFILES),
  'seccompProfile.type': isNot(...PROFILES),
  'seLinuxOptions.type': isNot(...SELINUX_TYPES),
  'seLinuxOptions.user': isNot(''),
  'seLinuxOptions.role': isNot(''),
  'windowsOptions.hostProcess': isTrue,
};
const POD: Readonly<Record<string, Forbids>> = {
  hostNetwork: isTrue,
  hostPID: isTrue,
  hostIPC: isTrue,
  'volumes[].hostPath': isAny,
  'securityContext.sysctls[].name': isNot(...SYSCTLS),
  ...under('securityContext', CONTEXT),
};
const CONTAINER: Readonly<Record<string, Forbids>> = {
  'securityContext.privileged': isTrue,
  'securityContext.capabilities.add': holds(...CAPABILITIES),
  'securityContext.procMount': isNot('Default'),
  'ports[].hostPort': isNot(0),
  ...under('securityContext', CONTEXT),
  ...probesOf('livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle.postStart', 'lifecycle.preStop'),
};
const APPARMOR = 'container.apparmor.security.beta.kubernetes.io/';

function under(field: string, rules: Readonly<Record<string, Forbids>>): Readonly<Record<string, Forbids>> {
  return Object.fromEntries(Object.entries(rules).map(([name, forbids]) => [`${field}.${name}`, forbids]));
}

/** A probe that names a host is sent by the kubelet to wherever that is. */
function probesOf(...fields: readonly string[]): Readonly<Record<string, Forbids>> {
  return Object.fromEntries(
    fields.flatMap((field) => ['httpGet', 'tcpSocket'].map((kind) => [`${field}.${kind}.host`, isNot('')] as const)),
  );
}

interface Found {
  readonly path: string;
  readonly value: unknown;
}

/** What stands at a path of names; `[]` is for each item of a list. */
function at(fields: unknown, [name, ...rest]: readonly string[], path: string): readonly Found[] {
  if (name === undefined) return fields === undefined || fields === null ? [] : [{ path, value: fields }];
  if (!isRecord(fields)) return [];
  if (!name.endsWith('[]')) return at(fields[name], rest, `${path}.${name}`);
  const list = fields[name.slice(0, -2)];
  if (!Array.isArray(list)) return [];
  return list.flatMap((item, index) => at(item, rest, `${path}.${name.slice(0, -1)}${index}]`));
}

const forbidden = (fields: Fields, rules: Readonly<Record<string, Forbids>>, path: string): readonly string[] =>
  Object.entries(rules).flatMap(([field, forbids]) =>
    at(fields, field.split('.'), path)
      .filter(({ value }) => forbids(value))
      .map((found) => found.path),
  );

const containersOf = (pod: Fields): readonly Found[] =>
  ['initContainers[]', 'containers[]'].flatMap((list) => at(pod, [list], 'spec'));

/** Fields of a pod template that Pod Security's baseline level forbids, as paths. */
export function beyondBaseline({
  annotations,
  pod,
}: {
  readonly annotations: Fields;
  readonly pod: Fields;
}): readonly string[] {
  return [
    ...Object.entries(annotations)
      .filter(([name, value]) => name.startsWith(APPARMOR) && value !== 'runtime/default' && value !== null)
      .map(([name]) => `metadata.annotations[${name}]`),
    ...forbidden(pod, POD, 'spec'),
    ...containersOf(pod).flatMap(({ path, value }) => (isRecord(value) ? forbidden(value, CONTAINER, path) : [])),
  ];
}
