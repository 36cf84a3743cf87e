// The rights that the chart grants, and those that operator and router used in the whole run of these tests, from the API servers' audit logs: the
// same. It comes last (vitest.config.ts): the clusters of the other files leave their records.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HAS_NODE } from '../helpers/cluster-node.ts';
import { rightsOfRun } from '../helpers/cluster-rights.ts';
import { COMPONENTS, difference, UNSEEN } from '../helpers/rights.ts';

async function filesWithCluster(): Promise<readonly string[]> {
  const names = (await readdir(import.meta.dirname)).filter((name) => name.endsWith('.test.ts'));
  const texts = await Promise.all(names.map(async (name) => await readFile(join(import.meta.dirname, name), 'utf8')));
  return names.filter((_, index) => /^ *cluster = await startCluster\(/m.test(texts[index]!));
}

describe.runIf(HAS_NODE)('over the whole run', () => {
  it.for(COMPONENTS)(
    'the %s uses every right that it is granted, and asks for no other',
    async (component, { skip }) => {
      const { files, granted, used } = await rightsOfRun();
      const missing = (await filesWithCluster()).filter((file) => !files.includes(file));
      skip(missing.length > 0, `not run, or without a record: ${missing.join(', ')}`);
      expect(granted[component].length).toBeGreaterThan(0);
      expect(difference(used[component], granted[component])).toEqual([]);
      expect(difference(granted[component], used[component])).toEqual(component === 'operator' ? UNSEEN : []);
    },
  );
});
