// What the operator wrote on a real cluster, by its audit log: scale writes, holders of the Lease, writers one after the other.
import { readWrites } from './control-plane-audit.ts';
import type { Write } from './control-plane-audit.ts';

const OPERATOR = 'system:serviceaccount:kubembed:kubembed-operator';

/** Only those that succeeded; `since` in ms since the epoch. */
export async function operatorWrites(auditLog: string, since: number): Promise<readonly Write[]> {
  const writes = await readWrites(auditLog);
  return writes
    .filter(({ user, code, at }) => user === OPERATOR && code < 300 && Date.parse(at) >= since)
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

const replicasIn = ({ body }: Write): number | undefined => (body as { spec?: { replicas?: number } }).spec?.replicas;

/** The counts that were written into a Deployment, in order. */
export const replicasWritten = (writes: readonly Write[], deployment: string): readonly (number | undefined)[] =>
  writes.filter(({ resource, name }) => resource === 'deployments' && name === deployment).map(replicasIn);

export interface Takeover {
  /** From the last sign of life of the one to the first write of the other, in ms. */
  readonly afterMs: number;
  /** What the old one wrote after that, which must be nothing. */
  readonly late: readonly string[];
  /** How much each wrote, Leases apart. */
  readonly before: number;
  readonly after: number;
}

const holderIn = ({ body }: Write): string | undefined =>
  (body as { spec?: { holderIdentity?: string } }).spec?.holderIdentity;

/** Reads one change of leader out of the writes. */
export function takeoverOf(writes: readonly Write[], old: string, next: string): Takeover {
  const isLease = ({ resource }: Write): boolean => resource === 'leases';
  const atMs = ({ at }: Write): number => Date.parse(at);
  const taken = writes.find((write) => isLease(write) && write.pod === next && holderIn(write) === next);
  const renewed = writes.findLast(
    (write) => isLease(write) && write.pod === old && (!taken || atMs(write) < atMs(taken)),
  );
  if (taken === undefined || renewed === undefined) throw new Error(`no change from ${old} to ${next} was written`);
  const others = writes.filter((write) => !isLease(write));
  const late = writes.filter((write) => write.pod === old && atMs(write) >= atMs(taken));
  return {
    afterMs: atMs(taken) - atMs(renewed),
    late: late.map(({ at, verb, resource, name }) => `${at} ${verb} ${resource} ${name}`),
    before: others.filter(({ pod }) => pod === old).length,
    after: others.filter(({ pod }) => pod === next).length,
  };
}
