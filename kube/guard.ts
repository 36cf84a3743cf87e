// A client that refuses writes while a condition does not hold, such as: this process is the leader.
import type { KubeClient } from './client.ts';

export class WriteRefusedError extends Error {
  override readonly name = 'WriteRefusedError';
}

/** A process that was paused acts before its timers tell it that its lease is gone; this asks the clock at each write. */
export function guardWrites(client: KubeClient, mayWrite: () => boolean): KubeClient {
  const guarded = async <T>(write: () => Promise<T>): Promise<T> => {
    if (!mayWrite()) throw new WriteRefusedError('Not the leader: the write was not sent');
    return await write();
  };
  return {
    get: async (...call) => await client.get(...call),
    list: async (...call) => await client.list(...call),
    watch: (...call) => client.watch(...call),
    create: async (...call) => await guarded(async () => await client.create(...call)),
    replace: async (...call) => await guarded(async () => await client.replace(...call)),
    apply: async (...call) => await guarded(async () => await client.apply(...call)),
    patch: async (...call) => await guarded(async () => await client.patch(...call)),
    delete: async (...call) => await guarded(async () => await client.delete(...call)),
  };
}
