// Objects put into the store of an API server that is there for the bench alone.
import { PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';

/** etcd takes so many in one transaction. */
const AT_ONCE = 100;

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** As the API server reads them: it takes JSON where it writes its own binary form. */
export const putPods =
  (store: string) =>
  async (pods: readonly Pod[]): Promise<void> => {
    for (let at = 0; at < pods.length; at += AT_ONCE) {
      const success = pods.slice(at, at + AT_ONCE).map((pod) => ({
        requestPut: {
          key: base64(`/registry/${PODS.plural}/${pod.metadata.namespace ?? ''}/${pod.metadata.name}`),
          value: base64(JSON.stringify({ ...pod, apiVersion: 'v1', kind: PODS.kind })),
        },
      }));
      const answer = await fetch(`${store}/v3/kv/txn`, { method: 'POST', body: JSON.stringify({ success }) });
      if (!answer.ok) throw new Error(`etcd answered ${answer.status}: ${await answer.text()}`);
      await answer.body?.cancel();
    }
  };
