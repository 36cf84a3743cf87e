// What README, install and quickstart tell people to type for Kubernetes, typed on a real cluster. Only the hub, the local port and kind are others.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf } from '../helpers/docs-blocks.ts';
import type { Block } from '../helpers/docs-blocks.ts';
import { vectorPattern } from '../helpers/vector-pattern.ts';
import { eventually, startCluster } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { readRepository, serveHub } from '../helpers/cluster-hub.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { HAS_NODE } from '../helpers/cluster-node.ts';
import { binaries } from '../helpers/helm.ts';
import { HAS_BROWSER, openPage, startBrowser } from '../helpers/browser.ts';
import { MINILM, minilm } from '../helpers/minilm.ts';
import { publishTimes } from '../helpers/newcomer-times.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const PORT = '11445';
/** kind's work is done already; a stand-in writes down what was asked of it. */
const STAND_IN = `#!/bin/sh\necho "$(basename "$0") $*" >>"$ASKED"\n`;

let cluster: Cluster;
let hub: HubServer;
let folder: string;
let port: string;
let servers: ChildProcess[] = [];
const cleanup: (() => Promise<void>)[] = [];

const substituted = (code: string): string =>
  code
    .replaceAll(PORT, port)
    .replaceAll(/^helm (install|upgrade) .*$/gm, `$& --set huggingFace.endpoint=${hub.endpoint} --wait --timeout 3m`);

function typing(code: string): ChildProcess {
  const PATH = [folder, binaries(), process.env['PATH']].join(':');
  const env = { ...process.env, PATH, KUBECONFIG: cluster.kubeconfig, ASKED: join(folder, 'asked'), CURL_HOME: folder };
  return spawn('bash', ['-euc', substituted(code)], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
}

/** @returns what was printed; rejects with it when a command failed. */
async function type({ at, code }: Pick<Block, 'at' | 'code'>): Promise<string> {
  const child = typing(code);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (status !== 0) throw new Error(`${at}: exit code ${String(status)}\n${output}`);
  return output;
}

/** In another terminal, until it listens. */
async function serve({ at, code }: Block): Promise<void> {
  const child = typing(code);
  servers.push(child);
  await eventually(`${at} to listen`, async () => {
    if (child.exitCode !== null) throw new Error(`exit code ${String(child.exitCode)}`);
    return await fetch(`http://127.0.0.1:${port}/healthz`).then(() => true);
  });
}

async function closeTerminals(): Promise<void> {
  for (const child of servers) {
    const closed = new Promise((resolve) => child.once('close', resolve));
    process.kill(-child.pid!, 'SIGINT');
    await closed;
  }
  servers = [];
}

interface Walk {
  readonly output: string;
  /** Seconds that the block took in which this stands. */
  readonly secondsOf: (typed: string) => number;
}

/** @param look at what is served, before the terminals are closed */
async function walk(page: string, look = async (): Promise<void> => undefined): Promise<Walk> {
  let output = '';
  const blocks = blocksOf(await readFile(join(ROOT, page), 'utf8'), page);
  const forCluster = blocks.filter(({ run }) => run === 'cluster' || run === 'cluster-server');
  expect(forCluster, page).not.toEqual([]);
  const taken: { readonly code: string; readonly seconds: number }[] = [];
  const timed = async (block: Block): Promise<void> => {
    const startedMs = performance.now();
    if (block.run === 'cluster-server') await serve(block);
    else output += await type(block);
    taken.push({ code: block.code, seconds: (performance.now() - startedMs) / 1000 });
  };
  try {
    for (const [index, block] of forCluster.entries()) {
      await timed(block);
      // "and the curl from above"
      if (block.run === 'cluster-server' && page === 'README.md') {
        const curl = blocks.find(({ run, code }) => run === 'here' && code.startsWith('curl '));
        await timed(curl!);
      }
      const isAnswered = servers.length > 0 && /^curl /m.test(block.code);
      if (isAnswered && index > 0) await look();
    }
  } finally {
    await closeTerminals();
  }
  const secondsOf = (typed: string): number => {
    const block = taken.find(({ code }) => code.includes(typed));
    if (block === undefined) throw new Error(`${page}: nobody types ${typed}`);
    return block.seconds;
  };
  return { output, secondsOf };
}

const CLEAN_UP = {
  at: 'clean-up',
  code: 'helm uninstall kubembed -n kubembed --wait; kubectl delete crd embeddingmodels.kubembed.dev; kubectl delete namespace kubembed',
};

const freePort = async (): Promise<string> => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port: free } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return String(free);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-walk-'));
  cleanup.push(async () => await rm(folder, { recursive: true }));
  for (const name of ['docker', 'kind']) {
    await writeFile(join(folder, name), STAND_IN);
    await chmod(join(folder, name), 0o755);
  }
  // On a terminal curl shows no progress; here it would land in the middle of an answer.
  await writeFile(join(folder, '.curlrc'), 'no-progress-meter\n');
  port = await freePort();
  const { snapshotDir } = await minilm();
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host);
  cleanup.push(async () => await hub.close());
  hub.commit(MINILM, await readRepository(snapshotDir));
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

const VECTOR = vectorPattern(384);

/** Opens the status page, and waits until its plot of latencies has a point: that of the request before. */
async function secondsToPlot(): Promise<number> {
  if (!HAS_BROWSER) return Number.NaN;
  const startedMs = performance.now();
  const browser = await startBrowser();
  try {
    const { page, complaints } = await openPage(browser);
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.locator('#plot-latency path.line[d^="M"]').first().waitFor({ state: 'attached', timeout: 60_000 });
    expect(complaints).toEqual([]);
    return (performance.now() - startedMs) / 1000;
  } finally {
    await browser.close();
  }
}

describe('typed as it stands there', () => {
  it('the README leads from images to vectors', async () => {
    const { output } = await walk('README.md');
    expect(output).toMatch(/sentence-transformers\/all-MiniLM-L6-v2 +cpu/);
    expect(output).toContain('embeddingmodel.kubembed.dev/search condition met');
    expect(output).toMatch(VECTOR);
    const asked = (await readFile(join(folder, 'asked'), 'utf8')).trim().split('\n');
    // The test cluster has these two from the same files.
    expect(asked).toEqual([
      'docker build -f Dockerfile.operator -t localhost/kubembed/operator:0.1.0 .',
      'docker build -f Dockerfile.runtime -t localhost/kubembed/runtime:0.1.0 .',
      'kind load docker-image localhost/kubembed/operator:0.1.0 localhost/kubembed/runtime:0.1.0',
    ]);
    await type(CLEAN_UP);
  });

  it.runIf(HAS_NODE)('the README tells how large the images are', async () => {
    const [operator, runtime] = /has\s+(\d+) MB and that of the runtime (\d+) MB/
      .exec(await readFile(join(ROOT, 'README.md'), 'utf8'))!
      .slice(1);
    for (const [image, told] of Object.entries({ operator, runtime })) {
      const { size } = await stat(join(ROOT, '.kubembed', 'images', `${image}.tar`));
      expect(Math.abs(size / 1e6 - Number(told)), `${image}: ${String(size)} bytes`).toBeLessThan(10);
    }
  });

  it('so does the quickstart on kind, and back to nothing', async () => {
    let plotSeconds = Number.NaN;
    const { output, secondsOf } = await walk('docs/quickstart-kind.md', async () => {
      plotSeconds = await secondsToPlot();
    });
    expect(output).toMatch(VECTOR);
    expect(output).toMatch(/\nsearch +sentence-transformers\/all-MiniLM-L6-v2 +cpu +/);
    expect(output).toContain('release "kubembed" uninstalled');
    publishTimes({
      install: secondsOf('helm install'),
      ready: secondsOf('kubectl wait'),
      'cluster-vector': secondsOf('curl '),
      ...(HAS_BROWSER && { plot: plotSeconds }),
    });
    await type({ at: 'what must be gone', code: '! kubectl get embeddingmodels' });
    await type({ at: 'clean-up', code: 'kubectl delete namespace kubembed' });
  });

  it('and the install page', async () => {
    expect((await walk('docs/install.md')).output).toContain('STATUS: deployed');
    await type(CLEAN_UP);
  });
});
