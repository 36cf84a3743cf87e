// The limits of the chart are what its formula gives for what its comments say they are enough for.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseQuantity } from '../../operator/manifests/manifest.ts';
import { memoryFormula, memoryMib } from './memory.ts';
import type { Component } from './memory.ts';
import { documentedValues } from './readme.ts';

const text = readFileSync(join(import.meta.dirname, '../../charts/kubembed/values.yaml'), 'utf8');
const MIB = 2 ** 20;

interface Values {
  readonly operator: { readonly resources: { readonly limits: { readonly memory: string } } };
  readonly router: Values['operator'] & { readonly maxHeldBytes: number; readonly cache: { readonly bytes: number } };
}
const values = parse(text) as Values;

const described = (component: Component): string =>
  documentedValues(text).find(({ key }) => key === `${component}.resources`)?.description ?? '';

const counted = (words: string): number => Number(words.replaceAll(',', ''));

describe('the memory limit', () => {
  test.each(['operator', 'router'] as const)('of the %s follows from the formula beside it', (component) => {
    const words = described(component);
    expect(words).toContain(memoryFormula(component));
    const [, models = '', replicas = ''] =
      /enough for ([\d,]+) EmbeddingModels and ([\d,]+) replicas/.exec(words) ?? [];
    const { router } = values;
    const held = component === 'router' ? (router.maxHeldBytes + router.cache.bytes) / MIB : 0;
    const needed = held + memoryMib(component, { models: counted(models), replicas: counted(replicas) });
    const limit = (parseQuantity(values[component].resources.limits.memory) ?? 0) / MIB;
    expect(needed).toBeGreaterThan(limit * 0.9);
    expect(needed).toBeLessThanOrEqual(limit);
  });
});
