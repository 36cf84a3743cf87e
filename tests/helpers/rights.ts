// Rights as a role grants them and as an audit log shows them used, in the same words: `patch apps/deployments`.
import type { KubeObject } from '../../kube/types.ts';
import type { Write } from './control-plane-audit.ts';

export interface Role extends KubeObject {
  readonly rules: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

export const COMPONENTS = ['operator', 'router'] as const;
export type Component = (typeof COMPONENTS)[number];

/** Asked for by admission alone, where a cluster has OwnerReferencesPermissionEnforcement. */
export const UNSEEN = ['update kubembed.dev/embeddingmodels/finalizers'];

export const userOf = (component: Component): string => `system:serviceaccount:kubembed:kubembed-${component}`;

export const granted = (roles: readonly Role[], component: Component): readonly string[] =>
  roles
    .filter(
      ({ metadata }) => metadata.name === `kubembed-${component}` || metadata.name === `kubembed-${component}-own`,
    )
    .flatMap(({ rules }) => rules)
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
      ),
    );

/**
 * The API server's verb for a server-side apply of what is not there yet is a patch too, and it asks for both rights. Whoever watches has
 * read all there is first: as the beginning of the watch on this server, by a list on one that cannot do that.
 */
export const used = (requests: readonly Write[]): readonly string[] =>
  requests.flatMap(({ verb, group, resource, code }) => [
    `${verb} ${group}/${resource}`,
    ...(verb === 'patch' && code === 201 ? [`create ${group}/${resource}`] : []),
    ...(verb === 'watch' ? [`list ${group}/${resource}`] : []),
  ]);

export const difference = (all: readonly string[], but: readonly string[]): readonly string[] =>
  [...new Set(all)].filter((one) => !but.includes(one)).toSorted();
