// What stands against what should: which children to apply and which to remove.
import type { ChildRole, Children } from '../desired/children.ts';
import { needsApply } from '../desired/manifest.ts';
import type { Manifest } from '../desired/manifest.ts';
import { parseQuantity } from '../desired/quantity.ts';
import type { KubeObject } from '../../kube/types.ts';
import { ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';

const sizeOf = (claim: object): number => {
  const { spec } = claim as { spec?: { resources?: { requests?: { storage?: string | number } } } };
  return parseQuantity(spec?.resources?.requests?.storage ?? 0) ?? 0;
};

/** Claims grow and never shrink; everything else of theirs is immutable. */
const claimNeedsApply = (found: KubeObject | undefined, wanted: Manifest): boolean =>
  found === undefined || sizeOf(wanted) > sizeOf(found);

const isGoing = (object: KubeObject): boolean => object.metadata.deletionTimestamp !== undefined;

export function toApply({ model, children: observed }: Snapshot, wanted: Children): readonly Manifest[] {
  // Object.entries of Children yields its roles.
  const roles = Object.entries(wanted) as [ChildRole, Manifest][];
  return roles
    .filter(([role, manifest]) => {
      const found = observed[role];
      if (found !== undefined && (isGoing(found) || ownershipOf(found, model) === 'predecessor')) return false;
      return role === 'claim' ? claimNeedsApply(found, manifest) : needsApply(found, manifest);
    })
    .map(([, manifest]) => manifest);
}

export const toRemove = ({ model, children }: Snapshot, roles: readonly ChildRole[]): readonly ChildRole[] =>
  roles.filter((role) => {
    const child = children[role];
    return child !== undefined && !isGoing(child) && ownershipOf(child, model) === 'ours';
  });
