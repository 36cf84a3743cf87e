// The children by role: what kind each is and what it is called.
import { cacheClaimName, childName, pinConfigMapName } from '../../api/names.ts';
import type { ChildRole } from '../desired/children.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  SERVICES,
  SERVICE_ACCOUNTS,
} from '../../kube/resources.ts';
import type { ResourceType } from '../../kube/types.ts';

interface RoleInfo {
  readonly type: ResourceType;
  readonly nameOf: (modelName: string) => string;
}

export const ROLES: Readonly<Record<ChildRole, RoleInfo>> = {
  serviceAccount: { type: SERVICE_ACCOUNTS, nameOf: childName },
  pin: { type: CONFIG_MAPS, nameOf: pinConfigMapName },
  claim: { type: PERSISTENT_VOLUME_CLAIMS, nameOf: cacheClaimName },
  deployment: { type: DEPLOYMENTS, nameOf: childName },
  service: { type: SERVICES, nameOf: childName },
  disruptionBudget: { type: POD_DISRUPTION_BUDGETS, nameOf: childName },
};

// Object.keys of a Record over roles yields them all.
export const ALL_ROLES = Object.keys(ROLES) as readonly ChildRole[];

export function roleOfKind(kind: string): ChildRole {
  const role = ALL_ROLES.find((one) => ROLES[one].type.kind === kind);
  if (role === undefined) throw new RangeError(`No child has the kind ${kind}`);
  return role;
}
