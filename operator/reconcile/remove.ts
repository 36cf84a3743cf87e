// Removes one object, and that very one: whoever has its name by now is left alone.
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { keyOf } from '../../kube/types.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Overlay } from './overlay.ts';

export interface RemoveDeps {
  readonly client: KubeClient;
  readonly overlay: Overlay;
}

export async function remove(
  type: ResourceType,
  object: KubeObject,
  { client, overlay }: RemoveDeps,
  signal: AbortSignal,
): Promise<void> {
  const { uid } = object.metadata;
  const options = { signal, ...(uid !== undefined && { uid }) };
  await ifPresent(client.delete(type, keyOf(object), options));
  overlay.forget(type.kind, keyOf(object));
}
