// How to reach the API server: from inside a pod, or from a kubeconfig file (client-node is loaded only for that).
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
import type { Clock } from './clock.ts';
import { homeFolder } from '../common/util/process.ts';

export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface ConnectionConfig {
  /** `https://host:port`, with a path if the server is behind one. */
  readonly server: string;
  readonly tls: TlsOptions;
  /** Credentials for one request: they change while we run. */
  readonly headers: () => Promise<Readonly<Record<string, string>>>;
  /** The namespace we run in, or the context's. */
  readonly namespace: string;
}

export interface ConfigSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Pick<Clock, 'now'>;
  /** Where a pod finds its service account. */
  readonly serviceAccountDir?: string;
}

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The kubelet replaces a token long before it expires; client-go re-reads as often. */
const CREDENTIAL_LIFETIME_MS = 60_000;

/** `KUBECONFIG` if set, else the pod's service account, else `~/.kube/config`. */
export async function loadConnection(sources: ConfigSources): Promise<ConnectionConfig> {
  const { KUBECONFIG: file, KUBERNETES_SERVICE_HOST: host } = sources.env;
  if (file) return await fromKubeconfig(file, sources);
  return host
    ? await fromServiceAccount(sources)
    : await fromKubeconfig(join(homeFolder(sources.env), '.kube', 'config'), sources);
}

async function fromServiceAccount({
  env,
  clock,
  serviceAccountDir = SERVICE_ACCOUNT_DIR,
}: ConfigSources): Promise<ConnectionConfig> {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const read = async (name: string): Promise<string> => (await readFile(join(serviceAccountDir, name), 'utf8')).trim();
  const [ca, namespace] = await Promise.all([read('ca.crt'), read('namespace')]);
  const headers = kept(clock, async () => ({ authorization: `Bearer ${await read('token')}` }));
  await headers();
  return { server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`, tls: { ca }, headers, namespace };
}

/** `file` may be a list of files, of which the first is read. */
async function fromKubeconfig(file: string, { clock }: ConfigSources): Promise<ConnectionConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const [first = file] = file.split(':');
  config.loadFromFile(first);
  const cluster = config.getCurrentCluster();
  if (!cluster) throw new Error(`${first} has no current context with a cluster`);
  const credentials = async (): Promise<RequestOptions> => {
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    return options;
  };
  const { rejectUnauthorized, servername, ...secrets } = await credentials();
  const texts: Record<string, unknown> = { ca: secrets.ca, cert: secrets.cert, key: secrets.key, servername };
  const given = Object.entries(texts).filter(([, value]) => typeof value === 'string' || Buffer.isBuffer(value));
  const tls = Object.fromEntries(given.map(([name, value]) => [name, (value as string | Buffer).toString()]));
  return {
    server: cluster.server,
    tls: { ...tls, ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }) },
    headers: kept(clock, async () => authorization(await credentials())),
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? 'default',
  };
}

function authorization({ headers, auth }: RequestOptions): Record<string, string> {
  if (auth) return { authorization: `Basic ${Buffer.from(auth).toString('base64')}` };
  const given = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]);
  return Object.fromEntries(given) as Record<string, string>;
}

/** Reads again after a minute; what was read last still serves when that fails. */
function kept<T>(clock: Pick<Clock, 'now'>, read: () => Promise<T>): () => Promise<T> {
  let last: { readonly value: T; readonly at: number } | undefined;
  return async () => {
    if (last && clock.now() - last.at < CREDENTIAL_LIFETIME_MS) return last.value;
    try {
      last = { value: await read(), at: clock.now() };
    } catch (error) {
      if (!last) throw error;
      last = { ...last, at: clock.now() };
    }
    return last.value;
  };
}
