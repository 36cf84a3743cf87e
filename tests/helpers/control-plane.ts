// A real Kubernetes control plane for tests: etcd and kube-apiserver, if asked for with controllers, scheduler and fake nodes.
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../kube/clock.ts';
import type { ConnectionConfig } from '../../kube/config.ts';
import { createRestClient } from '../../kube/rest.ts';
import type { RestClient } from '../../kube/rest.ts';
import { AUDIT_POLICY, readRequests, readWrites } from './control-plane-audit.ts';
import type { Write } from './control-plane-audit.ts';
import { createPki, kubeconfig } from './control-plane-pki.ts';
import type { KeyPair, Pki } from './control-plane-pki.ts';
import { giveInput } from './standard-input.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const READY_TIMEOUT_MS = 120_000;
const SERVICE_CIDR = '10.96.0.0/16';
const SERVICE_CIDR_6 = 'fd00:96::/112';
const POD_CIDR = '10.245.0.0/16';

/** Runs a program that dies with this process, however that ends: the pipe closes. */
const UNTIL_STDIN_ENDS =
  'exec 3<&0; "$@" </dev/null 3<&- & pid=$!; (cat <&3 >/dev/null; kill -9 $pid) 2>/dev/null & wait $pid';

export interface ControlPlaneOptions {
  /** Count writes: see `writesSince`. */
  readonly audit?: boolean;
  /** Services have addresses of both families. */
  readonly dualStack?: boolean;
  /** With the feature that not every server has on. */
  readonly imageVolumes?: boolean;
  /** With controller-manager, scheduler and kwok: Deployments get pods that are Running but do not exist. */
  readonly controllers?: boolean;
  /** Without any there is no kwok either: whoever wants pods to run makes a node. */
  readonly fakeNodes?: number;
  /** Definitions applied before the controllers start: the garbage collector looks for new kinds only every 30 s. */
  readonly crds?: readonly string[];
}

export interface ControlPlane {
  readonly server: string;
  readonly port: number;
  /** Of etcd, which listens on this machine alone and asks nobody who they are. */
  readonly store: string;
  readonly dir: string;
  readonly pki: Pki;
  /** Certificate that the API server shows, for a proxy in front of it. */
  readonly serverPair: KeyPair;
  /** A cluster administrator's, for kubectl, helm and processes under test. */
  readonly kubeconfig: string;
  readonly connection: ConnectionConfig;
  readonly admin: RestClient;
  /** A client of its own, told apart in the audit log by its user agent; `server` may be a proxy. */
  client(userAgent: string, server?: string): RestClient;
  /** Standard output; fails with what the program said. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** How many writes there were so far: the mark for `writesSince`. */
  countWrites(): Promise<number>;
  writesSince(mark: number): Promise<readonly Write[]>;
  /** All that a user asked of the server, reads too. */
  requestsOf(user: string): Promise<readonly Write[]>;
  stop(): Promise<void>;
}

/** `KUBEMBED_K8S_BIN`, or what tools/cluster has built or builds now (minutes, once). */
async function binaries(controllers: boolean): Promise<string> {
  const given = process.env['KUBEMBED_K8S_BIN'];
  if (given !== undefined && existsSync(join(given, 'kube-apiserver'))) return given;
  const build = join(ROOT, 'tools', 'cluster', 'build.ts');
  const { stdout } = await run(process.execPath, [build, controllers ? 'b' : 'a'], { cwd: ROOT, maxBuffer: 1 << 26 });
  return stdout.trim();
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map(async (server) => await new Promise((resolve) => server.close(resolve))));
  return ports;
}

const flags = (values: Readonly<Record<string, string | number | boolean>>): string[] =>
  Object.entries(values).map(([name, value]) => `--${name}=${value}`);

const DEFAULTS = {
  audit: false,
  dualStack: false,
  imageVolumes: false,
  controllers: false,
  fakeNodes: 1,
  crds: [],
} satisfies ControlPlaneOptions;

export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const { audit, dualStack, imageVolumes, controllers, fakeNodes, crds } = { ...DEFAULTS, ...options };
  const bin = await binaries(controllers);
  const dir = await mkdtemp(join(tmpdir(), 'kubembed-control-plane-'));
  const [etcdPort = 0, peerPort = 0, port = 0, kwokPort = 0] = await freePorts(4);
  const server = `https://127.0.0.1:${port}`;
  await Promise.all([mkdir(join(dir, 'pki')), mkdir(join(dir, 'log'))]);
  const pki = await createPki(join(dir, 'pki'));
  const names = 'DNS:kubernetes,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1';
  const [serverPair, adminPair] = await Promise.all([
    pki.issue('apiserver', { user: 'kube-apiserver', names }),
    pki.issue('admin', { user: 'admin', group: 'system:masters' }),
  ]);
  const adminConfig = join(dir, 'admin.kubeconfig');
  await writeFile(adminConfig, kubeconfig(server, pki.ca, 'admin', adminPair), { mode: 0o600 });
  const auditLog = join(dir, 'log', 'audit.log');

  const children: ChildProcess[] = [];
  function start(program: string, args: readonly string[]): void {
    const log = openSync(join(dir, 'log', `${program}.log`), 'a');
    const child = spawn('sh', ['-c', UNTIL_STDIN_ENDS, 'sh', join(bin, program), ...args], {
      stdio: ['pipe', log, log],
      cwd: dir,
    });
    closeSync(log);
    children.push(child);
  }

  start('etcd', etcdFlags(dir, etcdPort, peerPort));
  await writeFile(join(dir, 'audit.yaml'), AUDIT_POLICY);
  const auditFlags = { 'audit-policy-file': join(dir, 'audit.yaml'), 'audit-log-path': auditLog };
  start('kube-apiserver', [
    ...apiServerFlags(pki, port, etcdPort),
    ...(dualStack ? flags({ 'service-cluster-ip-range': `${SERVICE_CIDR},${SERVICE_CIDR_6}` }) : []),
    ...(imageVolumes ? flags({ 'feature-gates': 'ImageVolume=true' }) : []),
    ...(audit ? flags(auditFlags) : []),
  ]);

  const connection: ConnectionConfig = {
    server,
    tls: { ca: pki.ca, ...adminPair },
    headers: async () => await Promise.resolve({}),
    namespace: 'default',
  };
  const clients: RestClient[] = [];
  const client = (userAgent: string, through = server): RestClient => {
    const made = createRestClient({ ...connection, server: through }, { clock: systemClock, userAgent });
    clients.push(made);
    return made;
  };
  async function kubectl(args: readonly string[], input = ''): Promise<string> {
    const call = run(join(bin, 'kubectl'), ['--kubeconfig', adminConfig, ...args], { maxBuffer: 1 << 26 });
    giveInput(call.child, input);
    return (await call).stdout;
  }
  async function stop(): Promise<void> {
    await Promise.all(clients.map(async (one) => await one.close()));
    // The API server before etcd, without which it hangs.
    for (const child of [...children].reverse()) {
      const ended = child.exitCode === null ? new Promise((resolve) => child.once('exit', resolve)) : undefined;
      child.stdin?.end();
      await ended;
    }
    await rm(dir, { recursive: true, force: true });
  }

  try {
    await ready(connection, port, children, join(dir, 'log'));
    await establish(crds);
    if (controllers) await startControllers();
  } catch (error) {
    await stop();
    throw error;
  }

  async function establish(files: readonly string[]): Promise<void> {
    for (const file of files) {
      await kubectl(['apply', '-f', file]);
      await kubectl(['wait', '--for=condition=Established', '-f', file, '--timeout=30s']);
    }
  }

  async function startControllers(): Promise<void> {
    for (const name of ['kube-controller-manager', 'kube-scheduler']) {
      const pair = await pki.issue(name, { user: `system:${name}` });
      await writeFile(join(dir, `${name}.kubeconfig`), kubeconfig(server, pki.ca, name, pair), { mode: 0o600 });
    }
    start('kube-controller-manager', controllerFlags(dir, pki));
    start(
      'kube-scheduler',
      flags({
        kubeconfig: join(dir, 'kube-scheduler.kubeconfig'),
        'leader-elect': false,
        'secure-port': 0,
        'kube-api-qps': 500,
        'kube-api-burst': 1000,
      }),
    );
    await kubectl(['wait', '--for=create', 'serviceaccount/default', '--timeout=60s']);
    if (fakeNodes === 0) return;
    const kwok = { kubeconfig: adminConfig, 'manage-all-nodes': true, 'node-ip': '127.0.0.1', 'node-port': 0 };
    start('kwok', flags({ ...kwok, cidr: '10.245.255.1/24', 'server-address': `127.0.0.1:${kwokPort}` }));
    await kubectl(['apply', '-f', '-'], Array.from({ length: fakeNodes }, (_, i) => fakeNode(i + 1)).join('\n'));
    await kubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s']);
  }

  return {
    server,
    port,
    store: `http://127.0.0.1:${etcdPort}`,
    dir,
    pki,
    serverPair,
    kubeconfig: adminConfig,
    connection,
    admin: client('test-admin'),
    client,
    kubectl,
    countWrites: async () => (await readWrites(auditLog)).length,
    requestsOf: async (user) => (await readRequests(auditLog)).filter((request) => request.user === user),
    writesSince: async (mark) => (await readWrites(auditLog)).slice(mark),
    stop,
  };
}

function etcdFlags(dir: string, port: number, peerPort: number): string[] {
  const url = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return flags({
    name: 'test',
    'data-dir': join(dir, 'etcd'),
    'unsafe-no-fsync': true,
    'log-level': 'warn',
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `test=${peer}`,
  });
}

function apiServerFlags(pki: Pki, port: number, etcdPort: number): string[] {
  return flags({
    'etcd-servers': `http://127.0.0.1:${etcdPort}`,
    'bind-address': '127.0.0.1',
    'advertise-address': '127.0.0.1',
    'secure-port': port,
    'service-cluster-ip-range': SERVICE_CIDR,
    'endpoint-reconciler-type': 'none',
    'client-ca-file': pki.file('ca.crt'),
    'tls-cert-file': pki.file('apiserver.crt'),
    'tls-private-key-file': pki.file('apiserver.key'),
    'service-account-issuer': 'https://kubernetes.default.svc.cluster.local',
    'service-account-key-file': pki.file('sa.pub'),
    'service-account-signing-key-file': pki.file('sa.key'),
    'authorization-mode': 'Node,RBAC',
    profiling: false,
  });
}

function controllerFlags(dir: string, pki: Pki): string[] {
  return flags({
    kubeconfig: join(dir, 'kube-controller-manager.kubeconfig'),
    'secure-port': 0,
    'leader-elect': false,
    // Its default of 20 calls/s for each controller would be what a test with many models waits for.
    'kube-api-qps': 500,
    'kube-api-burst': 1000,
    // On a busy machine heartbeats are late, and fake nodes must not be drained for that.
    'node-monitor-grace-period': '10m',
    'use-service-account-credentials': true,
    'root-ca-file': pki.file('ca.crt'),
    'service-account-private-key-file': pki.file('sa.key'),
    'allocate-node-cidrs': true,
    'cluster-cidr': POD_CIDR,
    'service-cluster-ip-range': SERVICE_CIDR,
  });
}

const fakeNode = (number: number): string => {
  const capacity = { cpu: '32', memory: '256Gi', pods: '110' };
  const name = `fake-${number}`;
  const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', type: 'kwok' };
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    status: { capacity, allocatable: capacity },
  };
  return `---\n${JSON.stringify(node)}`;
};

async function ready(
  connection: ConnectionConfig,
  port: number,
  children: readonly ChildProcess[],
  logs: string,
): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await isReady(connection, port))) {
    const dead = children.findIndex(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null);
    if (dead === -1 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      continue;
    }
    const name = ['etcd', 'kube-apiserver'][Math.max(dead, 0)] ?? '';
    const log = await readFile(join(logs, `${name}.log`), 'utf8').catch(() => '');
    throw new Error(`The control plane did not start; ${name} said: ${log.slice(-2_000)}`);
  }
}

async function isReady({ tls }: ConnectionConfig, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const probe = request(
      { ...tls, host: '127.0.0.1', port, path: '/readyz', agent: false, timeout: 2_000 },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      },
    );
    probe.on('timeout', () => probe.destroy());
    probe.on('error', () => resolve(false));
    probe.end();
  });
}
