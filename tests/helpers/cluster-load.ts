// Continuous load on a model from a pod of the cluster, at half of what the model can take, with every vector checked.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLIENTS, CLIENT_SCRIPTS, ENDPOINT, eventually } from './cluster.ts';
import type { Cluster } from './cluster.ts';

interface Raw {
  readonly answered: number;
  readonly failed: number;
  readonly failures: readonly string[];
  readonly skipped: number;
  readonly samples: readonly (readonly [atMs: number, tookMs: number])[];
}

export interface LoadReport {
  readonly answered: number;
  readonly failed: number;
  readonly failures: readonly string[];
  /** Requests that were due while too many ran. */
  readonly skipped: number;
  /** 99th percentiles of the time a request took, in ms: before the event, and from its begin to its end. */
  readonly p99: { readonly before: number; readonly during: number };
}

export interface Load {
  readonly perSecond: number;
  /** Runs the action under load, with some calm before and after. */
  readonly during: (action: () => Promise<void>) => Promise<LoadReport>;
}

const TEXTS = Array.from({ length: 16 }, (_, n) => 'letters and words '.repeat((n % 4) + 1) + String(n));
const CALIBRATE_SECONDS = 5;
const CALM_MS = 3000;
const AFTERMATH_MS = 2000;

interface Answer {
  readonly status: number;
  readonly body: { readonly data: readonly { readonly embedding: string }[] };
}

const inClient = (...command: readonly string[]): readonly string[] => [
  'exec',
  '-i',
  '-n',
  CLIENTS,
  'client',
  '--',
  ...command,
];

const p99 = (samples: Raw['samples']): number => {
  const sorted = samples.map(([, tookMs]) => tookMs).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? NaN;
};

/** The model must serve; its present vectors are the right ones. The address is the Service's where none is given. */
export async function prepareLoad(cluster: Cluster, model: string, address?: string): Promise<Load> {
  const request = { model, input: TEXTS, encoding_format: 'base64' };
  const { status, body } = await cluster.inClient<Answer>('embed.mjs', `${ENDPOINT}/embeddings`, request);
  if (status !== 200) throw new Error(`no vectors to compare with: ${String(status)} ${JSON.stringify(body)}`);
  // By address: the cluster's DNS is not what is tested.
  const { spec } = await cluster.get<{ spec: { clusterIP: string } }>('service', 'kubembed', '-n', 'kubembed');
  const url = `http://${address ?? spec.clusterIP}/v1/embeddings`;
  const plan = { model, texts: TEXTS, expected: body.data.map(({ embedding }) => embedding) };
  const script = await readFile(join(CLIENT_SCRIPTS, 'load.mjs'), 'utf8');
  await cluster.kubectl(inClient('sh', '-c', 'cat >/tmp/load.mjs'), script);

  // Detached in the pod: an outage of the API server must not end it.
  const start = async (more: object): Promise<void> => {
    await cluster.kubectl(inClient('sh', '-c', 'cat >/tmp/plan.json'), JSON.stringify({ ...plan, ...more }));
    const command = `rm -f /tmp/stop /tmp/load.json; setsid node /tmp/load.mjs ${url} </tmp/plan.json >/tmp/load.json 2>&1 &`;
    await cluster.kubectl(inClient('sh', '-c', command));
  };
  const finish = async (): Promise<Raw> =>
    await eventually('the report of the load', async () => {
      const text = await cluster.kubectl(inClient('cat', '/tmp/load.json'));
      return text === '' ? undefined : (JSON.parse(text) as Raw);
    });
  const stop = async (): Promise<void> => {
    await eventually('the load to be told to end', async () => await cluster.kubectl(inClient('touch', '/tmp/stop')));
  };

  // The first run warms all up.
  await start({ rate: 0, seconds: 2 });
  await finish();
  await start({ rate: 0, seconds: CALIBRATE_SECONDS });
  const perSecond = Math.max(5, Math.round((await finish()).answered / CALIBRATE_SECONDS / 2));

  return {
    perSecond,
    during: async (action) => {
      await start({ rate: perSecond });
      await sleep(CALM_MS);
      const begin = Date.now();
      let end: number;
      try {
        await action();
      } finally {
        end = Date.now();
        await sleep(AFTERMATH_MS);
        await stop();
      }
      const { samples, ...counts } = await finish();
      const before = samples.filter(([at]) => at < begin);
      const during = samples.filter(([at]) => at >= begin && at <= end);
      return { ...counts, p99: { before: p99(before), during: p99(during) } };
    },
  };
}
