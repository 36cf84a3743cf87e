// What NetworkPolicies allow, by the rules of their API: the test cluster's network takes them and enforces none.
import { BlockList } from 'node:net';

interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values?: readonly string[];
  }[];
}

interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

interface Port {
  readonly protocol?: string;
  readonly port?: number | string;
  readonly endPort?: number;
}

export interface NetworkPolicy {
  readonly kind: 'NetworkPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly podSelector: Selector;
    readonly policyTypes: readonly Direction[];
    readonly ingress?: readonly { readonly from?: readonly Peer[]; readonly ports?: readonly Port[] }[];
    readonly egress?: readonly { readonly to?: readonly Peer[]; readonly ports?: readonly Port[] }[];
  };
}

type Direction = 'Ingress' | 'Egress';

/** Of either direction; nobody and nothing named means everybody and everything. */
interface Rule {
  readonly peers: readonly Peer[];
  readonly ports: readonly Port[];
}

type Labels = Readonly<Record<string, string>>;

export interface PodEnd {
  readonly namespace: string;
  readonly labels: Labels;
  /** Of its containers, by name. */
  readonly ports: Readonly<Record<string, number>>;
}

/** Not a pod: the API server, a hub, a collector. */
export interface OutsideEnd {
  readonly ip: string;
}

export type End = PodEnd | OutsideEnd;

export interface Connection {
  readonly from: End;
  readonly to: End;
  readonly port: number;
  readonly protocol?: 'TCP' | 'UDP';
}

const OPERATORS = {
  In: (value: string | undefined, values: readonly string[]) => value !== undefined && values.includes(value),
  NotIn: (value: string | undefined, values: readonly string[]) => value === undefined || !values.includes(value),
  Exists: (value: string | undefined) => value !== undefined,
  DoesNotExist: (value: string | undefined) => value === undefined,
};

const selects = ({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every(({ key, operator, values = [] }) => OPERATORS[operator](labels[key], values));

const isPod = (end: End): end is PodEnd => 'labels' in end;

/** The label that every namespace has. */
const namespaceLabels = (namespace: string): Labels => ({ 'kubernetes.io/metadata.name': namespace });

const isWithin = (ip: string, cidr: string): boolean => {
  const [net = '', prefix = '32'] = cidr.split('/');
  const block = new BlockList();
  block.addSubnet(net, Number(prefix));
  return block.check(ip);
};

function isPeer({ podSelector, namespaceSelector, ipBlock }: Peer, end: End, policyNamespace: string): boolean {
  if (!isPod(end))
    return (
      ipBlock !== undefined &&
      isWithin(end.ip, ipBlock.cidr) &&
      !(ipBlock.except ?? []).some((cidr) => isWithin(end.ip, cidr))
    );
  if (podSelector === undefined && namespaceSelector === undefined) return false;
  const inNamespace =
    namespaceSelector === undefined
      ? end.namespace === policyNamespace
      : selects(namespaceSelector, namespaceLabels(end.namespace));
  return inNamespace && selects(podSelector ?? {}, end.labels);
}

function isPort({ protocol = 'TCP', port, endPort }: Port, { to, port: wanted, ...connection }: Connection): boolean {
  if (protocol !== (connection.protocol ?? 'TCP')) return false;
  if (port === undefined) return true;
  if (typeof port === 'string') return isPod(to) && to.ports[port] === wanted;
  return wanted >= port && wanted <= (endPort ?? port);
}

const rulesOf = ({ ingress = [], egress = [] }: NetworkPolicy['spec'], direction: Direction): readonly Rule[] =>
  direction === 'Ingress'
    ? ingress.map(({ from = [], ports = [] }) => ({ peers: from, ports }))
    : egress.map(({ to = [], ports = [] }) => ({ peers: to, ports }));

/** No policy selects the pod for this direction, or a rule of one lets the connection pass. */
function passes(
  policies: readonly NetworkPolicy[],
  direction: Direction,
  [own, other]: readonly [End, End],
  connection: Connection,
): boolean {
  if (!isPod(own)) return true;
  const selecting = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === own.namespace &&
      spec.policyTypes.includes(direction) &&
      selects(spec.podSelector, own.labels),
  );
  const isOpen = ({ peers, ports }: Rule): boolean =>
    (peers.length === 0 || peers.some((peer) => isPeer(peer, other, own.namespace))) &&
    (ports.length === 0 || ports.some((port) => isPort(port, connection)));
  return selecting.length === 0 || selecting.some(({ spec }) => rulesOf(spec, direction).some(isOpen));
}

export const allows = (policies: readonly NetworkPolicy[], connection: Connection): boolean =>
  passes(policies, 'Egress', [connection.from, connection.to], connection) &&
  passes(policies, 'Ingress', [connection.to, connection.from], connection);
