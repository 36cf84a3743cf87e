// crds/embeddingmodels.yaml is exactly what crd.ts says; `UPDATE_CRD=1 npx vitest run api/crd.test.ts` writes it anew.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { expect, test } from 'vitest';
import { crd } from './crd.ts';

const FILE = new URL('../crds/embeddingmodels.yaml', import.meta.url);
const printed = `# Generated from api/crd.ts; do not edit.\n${stringify(crd(), { lineWidth: 0, aliasDuplicateObjects: false })}`;

test('the committed CRD is the one the types make', () => {
  if (process.env['UPDATE_CRD'] === '1') {
    mkdirSync(new URL('.', FILE), { recursive: true });
    writeFileSync(FILE, printed);
  }
  expect(readFileSync(FILE, 'utf8')).toBe(printed);
});

test('every field of the schema has a description', () => {
  const bare: string[] = [];
  const walk = (schema: Record<string, unknown>, path: string): void => {
    for (const [name, child] of Object.entries(
      (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>,
    )) {
      const at = `${path}.${name}`;
      if (child['description'] === undefined && at !== '.metadata') bare.push(at);
      walk(child, at);
      if (child['items'] !== undefined) walk(child['items'] as Record<string, unknown>, `${at}[]`);
    }
  };
  const root = crd() as { spec: { versions: { schema: { openAPIV3Schema: Record<string, unknown> } }[] } };
  walk(root.spec.versions[0]!.schema.openAPIV3Schema, '');
  expect(bare).toEqual([]);
});
