// The test cluster's node from below: processes of pods, processes of the control plane, packets. Only for the cluster that tools/cluster makes.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TOOLS = join(import.meta.dirname, '..', '..', 'tools', 'cluster');
export const CLUSTER_STATE = process.env['KUBEMBED_CLUSTER_STATE'] ?? join(TOOLS, '..', '..', '.kubembed', 'cluster');

/** With a cluster of somebody else's there is no node to reach into. */
export const HAS_NODE = process.env['KUBECONFIG'] === undefined || process.env['KUBECONFIG'].startsWith(CLUSTER_STATE);
export const AUDIT_LOG = join(CLUSTER_STATE, 'log', 'audit.jsonl');

/** The one process whose command line has the words, in any container of the pod. */
export async function processOf(podUid: string, words: string): Promise<number> {
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const pid of all) {
    const [cgroup, command] = await Promise.all(
      ['cgroup', 'cmdline'].map(async (file) => await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    );
    if (cgroup?.includes(podUid) === true && command?.replaceAll('\0', ' ').includes(words) === true)
      return Number(pid);
  }
  throw new Error(`no process of pod ${podUid} has ${words} on its command line`);
}

export const controlPlane = {
  kill: async (name: 'etcd' | 'kube-apiserver' | 'kube-controller-manager'): Promise<void> => {
    await run(join(TOOLS, 'control.sh'), ['kill', name]);
  },
  /** Starts what is not running and waits until the API server is ready. */
  start: async (): Promise<void> => {
    await run(join(TOOLS, 'control.sh'), ['start']);
  },
};

/** Nothing reaches the node, or leaves it, while the action runs; its processes run on. */
export async function cutOff(node: string, action: () => Promise<void>): Promise<void> {
  const link = async (state: 'up' | 'down'): Promise<void> => {
    await run('nsenter', ['--net=/run/netns/kubembed-lan', 'ip', 'link', 'set', node, state]);
  };
  await link('down');
  try {
    await action();
  } finally {
    await link('up');
  }
}

const TABLE = 'kubembed-trouble';
const API_PORT = 6443;
/** The bridge's own address: kubelet's probes come from it. */
const BRIDGE = '10.244.0.1';

async function nft(...rules: readonly string[]): Promise<void> {
  await run('nsenter', ['--net=/run/netns/kubembed', 'nft', rules.join('; ')]);
}

/** Holds while the action runs. */
async function withRules(hook: string, rules: readonly string[], action: () => Promise<void>): Promise<void> {
  await nft(
    `add table ip ${TABLE}`,
    `add chain ip ${TABLE} trouble { type filter hook ${hook} priority -310; }`,
    ...rules.map((rule) => `add rule ip ${TABLE} trouble ${rule}`),
  );
  try {
    await action();
  } finally {
    await nft(`delete table ip ${TABLE}`);
  }
}

/** What other pods send to the pod vanishes; kubelet reaches it, so that it stays ready. */
export async function blackHoled(podIp: string, action: () => Promise<void>): Promise<void> {
  await withRules('prerouting', [`ip saddr != ${BRIDGE} ip daddr ${podIp} drop`], action);
}

/** The API server refuses connections of these pods. */
export async function cutFromApi(podIps: readonly string[], action: () => Promise<void>): Promise<void> {
  const rule = `ip saddr { ${podIps.join(', ')} } tcp dport ${String(API_PORT)} reject with tcp reset`;
  await withRules('input', [rule], action);
}
