// Execute: carries a plan out through the API server, in order, and reports what the server refused.
import { FIELD_MANAGER } from '../../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelStatus } from '../../api/types.ts';
import type { Manifest } from '../desired/manifest.ts';
import type { Plan, Refusal, Snapshot } from '../plan/snapshot.ts';
import { ifPresent, isForbidden, isInvalid } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { keyOf } from '../../kube/types.ts';
import type { Caches } from './caches.ts';
import type { Overlay } from './overlay.ts';
import { remove } from './remove.ts';
import { roleOfKind, ROLES } from './roles.ts';

export interface ExecuteDeps {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly overlay: Overlay;
}

/** A refusal and the error it came as: told in the status, and tried again with back-off. */
export interface Refused {
  readonly refusal: Refusal;
  readonly error: unknown;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function applyOne(
  manifest: Manifest,
  { client, caches, overlay }: ExecuteDeps,
  signal: AbortSignal,
): Promise<void> {
  const role = roleOfKind(manifest.kind);
  const options = { fieldManager: FIELD_MANAGER, force: true, signal };
  const { store } = caches.children[role];
  await overlay.write(store, keyOf(manifest), async () => await client.apply(ROLES[role].type, manifest, options));
}

/** @returns the first object that the server refused for what it is; other failures are thrown */
export async function executeChildren(
  { children }: Snapshot,
  { apply, remove: superfluous }: Plan,
  deps: ExecuteDeps,
  signal: AbortSignal,
): Promise<Refused | undefined> {
  for (const role of superfluous) {
    const child = children[role];
    if (child !== undefined) await remove(ROLES[role].type, child, deps, signal);
  }
  for (const manifest of apply) {
    try {
      await applyOne(manifest, deps, signal);
    } catch (error) {
      if (!isInvalid(error) && !isForbidden(error)) throw error;
      return { refusal: { kind: manifest.kind, name: manifest.metadata.name, message: message(error) }, error };
    }
  }
  return undefined;
}

export async function writeStatus(
  model: EmbeddingModel,
  status: EmbeddingModelStatus,
  { client, caches, overlay }: ExecuteDeps,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid } = model.metadata;
  // With the uid, the status of a model that is gone never lands on its successor.
  const metadata = { name, namespace, ...(uid !== undefined && { uid }) };
  const body = { apiVersion: API_VERSION, kind: EMBEDDING_MODELS.kind, metadata, status };
  const options = { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal } as const;
  const send = async (): Promise<EmbeddingModel> => await client.apply(EMBEDDING_MODELS, body, options);
  await ifPresent(overlay.write(caches.models.store, keyOf(model), send));
}
