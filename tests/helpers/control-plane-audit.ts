// The API server's audit log, read as a list of writes: the proof that something wrote, or did not.
import { readFile } from 'node:fs/promises';

export const AUDIT_POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Request
  verbs: [create, update, patch, delete, deletecollection]
  resources: [{group: "", resources: [pods, services, configmaps, events, serviceaccounts, persistentvolumeclaims]}, {group: apps}, {group: kubembed.dev}, {group: coordination.k8s.io}]
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  userGroups: [system:serviceaccounts]
  resources: [{group: ""}, {group: apps}, {group: batch}, {group: policy}, {group: networking.k8s.io}, {group: discovery.k8s.io}, {group: coordination.k8s.io}, {group: kubembed.dev}]
- level: None
`;

export interface Write {
  readonly verb: string;
  /** `apps`; empty for the core. */
  readonly group: string;
  /** `deployments`, `embeddingmodels/status`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly user: string;
  /** Clients of one user are told apart by this. */
  readonly userAgent: string;
  /** Of a service account's token, when it is bound to one. */
  readonly pod: string | undefined;
  readonly code: number;
  readonly at: string;
  readonly body: unknown;
}

interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string; readonly extra?: Readonly<Record<string, readonly string[]>> };
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
  readonly requestObject?: unknown;
}

const toWrite = (event: AuditEvent): Write => {
  const { apiGroup = '', resource = '', subresource, namespace = '', name = '' } = event.objectRef ?? {};
  return {
    verb: event.verb,
    group: apiGroup,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    namespace,
    name,
    user: event.user.username,
    userAgent: event.userAgent ?? '',
    pod: event.user.extra?.['authentication.kubernetes.io/pod-name']?.[0],
    code: event.responseStatus?.code ?? 0,
    at: event.requestReceivedTimestamp,
    body: event.requestObject,
  };
};

const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch']);

export const readWrites = async (file: string): Promise<readonly Write[]> =>
  (await readRequests(file)).filter(({ verb }) => !READS.has(verb));

/** The server's own upkeep is left out. */
export async function readRequests(file: string): Promise<readonly Write[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  const events = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as AuditEvent);
  return events.map(toWrite).filter(({ user }) => user !== 'system:apiserver');
}
