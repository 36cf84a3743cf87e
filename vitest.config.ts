// The test projects: which files and how long they may take. What runs them, and what they need, is in tools/suites.ts.
import { defineConfig } from 'vitest/config';
import { BaseSequencer } from 'vitest/node';
import type { TestSpecification } from 'vitest/node';
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
  nodes: { ...alone, testTimeout: 600_000 },
};

/** What looks back on a whole run. */
const isLast = ({ moduleId }: TestSpecification): boolean => moduleId.endsWith('/e2e/rights.test.ts');

class Sequencer extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).toSorted((a, b) => Number(isLast(a)) - Number(isLast(b)));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: Sequencer },
    reporters: ['default'],
    maxWorkers: 2,
    projects: Object.entries(PROJECTS).map(([name, include]) => ({
      test: { ...common, ...LIMITS[name as Project], name, include: [include] },
    })),
  },
});
