// The suites of tests: what each command runs, what it needs, and about how long it takes. Pure.
import { table } from './docs/markdown.ts';

/** The projects of Vitest and the files of each. A test holds that every test file is in exactly one. */
export const PROJECTS = {
  unit: '{api,operator,router,runtime,hub,kube,common,local,cli,tools,bench,tests/helpers}/**/*.test.ts',
  integration: 'tests/integration/**/*.test.ts',
  load: 'tests/load/**/*.test.ts',
  kube: 'tests/kube/**/*.test.ts',
  tools: 'tests/tools/**/*.test.ts',
  e2e: 'tests/e2e/**/*.test.ts',
  nodes: 'tests/nodes/**/*.test.ts',
} as const;
export type Project = keyof typeof PROJECTS;

/** Programs of other people that a suite takes from the operating system. */
export type Program = 'chromium' | 'prometheus';

export interface Suite {
  readonly command: string;
  readonly projects: readonly Project[];
  readonly runs: string;
  readonly needs: string;
  /** On two cores: from a fresh clone, and when everything that is made once is there. */
  readonly minutes: { readonly first: number; readonly later: number };
  readonly programs: readonly Program[];
  /** Not part of what a change must pass: too long for every time. */
  readonly apart?: true;
}

export const SUITES = {
  test: {
    command: 'npm test',
    projects: ['unit', 'integration'],
    runs: 'unit and property tests, then real processes with the real model all-MiniLM-L6-v2: runtime, router, downloads, local mode',
    needs: "Python's pip",
    minutes: { first: 4, later: 3 },
    programs: [],
  },
  load: {
    command: 'npm run test:load',
    projects: ['load'],
    runs: 'tests that take long or need the machine for themselves: local mode under load with failures, hostile clients of every kind, memory, a busy neighbour, hundreds of changed repositories',
    needs: "Python's pip",
    minutes: { first: 12, later: 11 },
    programs: [],
  },
  kube: {
    command: 'npm run test:kube',
    projects: ['kube'],
    runs: 'operator, chart and client framework against a real Kubernetes API server, which is built from source once',
    needs: 'Go ≥ 1.24, else pip, which has it too; openssl',
    minutes: { first: 25, later: 10 },
    programs: [],
  },
  tools: {
    command: 'npm run test:tools',
    projects: ['tools'],
    runs: 'the status page in a browser, alerts and dashboard in Prometheus, the API by schemathesis, the documentation as a site, OpenAI clients, the recipes of CONTRIBUTING',
    needs: 'as above; Chromium and Prometheus, which root gets by apt',
    minutes: { first: 12, later: 7 },
    programs: ['chromium', 'prometheus'],
  },
  e2e: {
    command: 'npm run test:e2e',
    projects: ['e2e'],
    runs: 'images, chart and walkthroughs on a real single-node cluster, and newcomers in a fresh Debian, behind a proxy too',
    needs: 'root on Debian, or KUBECONFIG of a cluster that has the images',
    minutes: { first: 35, later: 25 },
    programs: [],
  },
  nodes: {
    command: 'npm run test:nodes',
    projects: ['nodes'],
    runs: 'clusters of other shapes: two real nodes with a claim that one has to itself, a drain and a loss; IPv4, IPv6 and both, with NetworkPolicies enforced; not part of `.ci/run`',
    needs: 'root on Debian',
    minutes: { first: 30, later: 15 },
    programs: [],
    apart: true,
  },
} as const satisfies Readonly<Record<string, Suite>>;
export type SuiteName = keyof typeof SUITES;

/** What a change must pass, and what then has to report: the static checks count as a suite. */
export const ALL_SUITES: readonly string[] = [
  'check',
  ...Object.entries<Suite>(SUITES).flatMap(([name, { apart }]) => (apart === true ? [] : [name])),
];

export const renderSuites = (): string =>
  table(
    ['command', 'what it runs', 'needs besides Node', 'minutes on 2 cores: first, later'],
    Object.values<Suite>(SUITES).map(({ command, runs, needs, minutes }) => [
      `\`${command}\``,
      runs,
      needs,
      `${minutes.first}, ${minutes.later}`,
    ]),
  );
