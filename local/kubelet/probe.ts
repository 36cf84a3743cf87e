// HTTP probes against a child process: calls back when the answer turns, as the kubelet's prober does.
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpProbe } from '../../kube/resources.ts';

const DEFAULTS = { periodSeconds: 10, timeoutSeconds: 1, failureThreshold: 3 };

async function passes(url: string, timeoutMs: number): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    await response.arrayBuffer();
    return response.status >= 200 && response.status < 400;
  } catch {
    return false;
  }
}

/**
 * Probes until the signal; `onChange(true)` after one success, `onChange(false)` after `failureThreshold` failures in a row.
 * A child that is not up yet is asked five times a second: on one machine a cold start should not wait for a probe period.
 */
export async function runProbe(
  probe: HttpProbe,
  port: number,
  onChange: (healthy: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { periodSeconds, timeoutSeconds, failureThreshold } = { ...DEFAULTS, ...probe };
  const url = `http://127.0.0.1:${port}${probe.httpGet.path}`;
  let healthy: boolean | undefined;
  let failures = 0;
  const isOver = (): boolean => signal.aborted;
  while (!isOver()) {
    const ok = await passes(url, timeoutSeconds * 1000);
    if (isOver()) return;
    failures = ok ? 0 : failures + 1;
    const next = ok ? true : failures >= failureThreshold ? false : healthy;
    if (next !== undefined && next !== healthy) {
      healthy = next;
      onChange(next);
    }
    const pause = healthy === undefined ? 200 : periodSeconds * 1000;
    await sleep(pause, undefined, { signal }).catch(() => undefined);
  }
}
