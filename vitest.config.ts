// The test projects: `unit` beside the code, `integration` with real processes and a real API server, `e2e` on a real cluster.
import { defineConfig } from 'vitest/config';

const common = { pool: 'forks', environment: 'node', restoreMocks: true } as const;

export default defineConfig({
  test: {
    reporters: ['default'],
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: ['{api,operator,router,runtime,hub,kube,common,local,cli,tools,bench,tests/helpers}/**/*.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          ...common,
          name: 'integration',
          include: ['tests/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          ...common,
          name: 'e2e',
          include: ['tests/e2e/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
