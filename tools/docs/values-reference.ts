// The reference page of the chart's values: descriptions and defaults from values.yaml, types from its schema. Pure.
import { documentedValues } from '../chart/readme.ts';
import { code, table } from './markdown.ts';
import { limitsInWords, typeInWords } from './schema.ts';
import type { Schema } from './schema.ts';

type Root = Schema & { readonly $defs?: Readonly<Record<string, Schema>> };

export function renderValues(yaml: string, root: Root): string {
  const resolved = (schema: Schema): Schema =>
    schema.$ref === undefined ? schema : resolved(root.$defs?.[schema.$ref.replace('#/$defs/', '')] ?? {});
  const schemaAt = (key: string): Schema =>
    key.split('.').reduce<Schema>((schema, name) => resolved(resolved(schema).properties?.[name] ?? {}), root);
  const sections = Map.groupBy(documentedValues(yaml), ({ key }) => (key.includes('.') ? key.split('.')[0]! : ''));
  const rows = (of: string): string =>
    table(
      ['Value', 'Type', 'Default', 'Meaning'],
      (sections.get(of) ?? []).map(({ key, fallback, description }) => {
        const schema = schemaAt(key);
        const limits = limitsInWords(schema);
        return [
          code(key),
          [typeInWords(schema), limits].filter((words) => words !== '').join('; '),
          code(fallback),
          description,
        ];
      }),
    );
  const named = [...sections.keys()].filter((name) => name !== '');
  return `# Values of the chart

Set with \`--set\` or a values file; \`helm show values charts/kubembed\` prints the file with its comments. A value that does not exist or has the wrong type is refused by
\`helm install\` itself.

## Top level

${rows('')}

${named.map((name) => `## ${name}\n\n${rows(name)}\n`).join('\n')}`;
}
