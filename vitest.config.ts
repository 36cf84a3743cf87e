// The test projects: which files and how long they may take. What runs them, and what they need, is in tools/suites.ts.
import { defineConfig } from 'vitest/config';
import { PROJECTS } from './tools/suites.ts';
import type { Project } from './tools/suites.ts';

const common = { pool: 'forks', environment: 'node', restoreMocks: true } as const;
/** Real processes: what they wait for takes minutes on a busy machine. */
const patient = { testTimeout: 120_000, hookTimeout: 900_000 } as const;
/** And they have the machine for themselves. */
const alone = { ...patient, fileParallelism: false } as const;

const LIMITS: Readonly<Record<Project, object>> = {
  unit: { testTimeout: 20_000 },
  integration: patient,
  load: alone,
  kube: alone,
  tools: alone,
  e2e: { ...alone, testTimeout: 600_000 },
};

export default defineConfig({
  test: {
    reporters: ['default'],
    maxWorkers: 2,
    projects: Object.entries(PROJECTS).map(([name, include]) => ({
      test: { ...common, ...LIMITS[name as Project], name, include: [include] },
    })),
  },
});
