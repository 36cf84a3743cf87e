// Paged lists: chunks of 500, and one unpaged list when the server has forgotten where the pages began.
import type { KubeClient, ListOptions } from './client.ts';
import { isExpired } from './errors.ts';
import type { KubeList, KubeObject, ResourceType } from './types.ts';

const PAGE_SIZE = 500;

/** The whole list under the resourceVersion of its first page, which is a sound place to watch from. */
export async function listAll<T extends KubeObject>(
  client: Pick<KubeClient, 'list'>,
  type: ResourceType<T>,
  options: ListOptions = {},
): Promise<KubeList<T>> {
  const limit = options.limit ?? PAGE_SIZE;
  const first = await client.list(type, { ...options, limit });
  const items = [...first.items];
  const { resourceVersion } = first.metadata;
  for (let token = first.metadata.continue; token;) {
    try {
      const page = await client.list(type, { ...options, limit, continue: token });
      items.push(...page.items);
      token = page.metadata.continue;
    } catch (error) {
      if (!isExpired(error)) throw error;
      return await client.list(type, { ...options, limit: 0 });
    }
  }
  return { metadata: { resourceVersion }, items };
}
