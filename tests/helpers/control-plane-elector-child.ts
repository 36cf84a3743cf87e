// A process that writes while it leads: `node control-plane-elector-child.ts KUBECONFIG IDENTITY`. Tests pause, stop and kill it.
import { silentLog, sleep, systemClock } from '../../kube/clock.ts';
import { loadConnection } from '../../kube/config.ts';
import { createElector, guardWrites } from '../../kube/leaderelection.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';
import { createRestClient } from '../../kube/rest.ts';

const [, , kubeconfig = '', identity = ''] = process.argv;
const environment = { clock: systemClock, random: Math.random, log: silentLog };
const connection = await loadConnection({ env: { KUBECONFIG: kubeconfig }, clock: systemClock });
const client = createRestClient(connection, { clock: systemClock, userAgent: identity });
const times = { leaseDurationMs: 5_000, renewDeadlineMs: 3_500, retryPeriodMs: 400 };
const elector = createElector({ client, namespace: 'default', name: 'leader', identity, times }, environment);
const writer = guardWrites(client, () => elector.isLeader());

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort(new Error('SIGTERM')));
/** Between two writes: one that is under way already when its process is paused arrives when it wakes, whoever leads then. */
let toPause = false;
process.once('SIGUSR2', () => (toPause = true));

async function lead(signal: AbortSignal): Promise<void> {
  console.log('leading');
  for (let i = 0; !signal.aborted; i += 1) {
    if (toPause) process.kill(process.pid, 'SIGSTOP');
    toPause = false;
    await writer.patch(CONFIG_MAPS, { namespace: 'default', name: 'work' }, { data: { [identity]: String(i) } });
    await sleep(systemClock, 20, signal);
  }
}

const end = await elector.run(lead, stop.signal).catch((error: unknown) => String(error));
console.log(end);
process.exit(end === 'stopped' ? 0 : 1);
