// The reference page of EmbeddingModel, from its CustomResourceDefinition. Pure.
import { parse } from 'yaml';
import { code, table } from './markdown.ts';
import { fieldRow, fieldsOf } from './schema.ts';
import type { Schema } from './schema.ts';

interface Definition {
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames?: readonly string[] };
    readonly versions: readonly {
      readonly name: string;
      readonly additionalPrinterColumns: readonly { readonly name: string; readonly priority?: number }[];
      readonly schema: { readonly openAPIV3Schema: Schema };
    }[];
  };
}

const HEAD = ['Field', 'Type', 'Limits', 'Meaning'];

interface RuleAt {
  readonly path: string;
  readonly message: string;
}

function rulesOf(schema: Schema, path: string): RuleAt[] {
  const own = (schema['x-kubernetes-validations'] ?? []).map(({ message }) => ({ path, message }));
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, one]) =>
    rulesOf(one, `${path}.${name}`.replace(/^\./, '')),
  );
  return [...own, ...below];
}

export function renderCrd(yaml: string): string {
  const { group, names, scope, versions } = (parse(yaml) as Definition).spec;
  const version = versions[0]!;
  const schema = version.schema.openAPIV3Schema;
  const section = (name: string): string =>
    table(
      HEAD,
      fieldsOf(schema.properties?.[name] ?? {}).map((field) => fieldRow({ ...field, path: `${name}.${field.path}` })),
    );
  const listed = [names.plural, ...(names.shortNames ?? [])].map((name) => code(`kubectl get ${name}`)).join(' or ');
  const columns = version.additionalPrinterColumns;
  const shown = (wide: boolean): string =>
    columns
      .filter(({ priority = 0 }) => priority > 0 === wide)
      .map(({ name }) => name)
      .join(', ');
  return `# ${names.kind}

${schema.description ?? ''}

\`${group}/${version.name}\`, ${scope.toLowerCase()}; ${listed}.
\`kubectl explain ${names.kind.toLowerCase()}.spec\` says the same on a cluster. In local mode files of this kind go into \`models/\`.

The smallest one:

\`\`\`yaml
apiVersion: ${group}/${version.name}
kind: ${names.kind}
metadata:
  name: search
spec:
  model: sentence-transformers/all-MiniLM-L6-v2
\`\`\`

## spec

${section('spec')}

## Rules

What the API server refuses beyond types and limits:

${table(
  ['Where', 'Rule'],
  rulesOf(schema, '').map(({ path, message }) => [code(path === '' ? 'metadata' : path), message]),
)}

With the chart's admission policy it also refuses a \`spec.model\` that is not in the list of supported models.

## status

${section('status')}

The reasons of the conditions are in [troubleshooting](../troubleshooting.md).

## Columns

\`kubectl get\` shows ${shown(false)}; with \`-o wide\` also ${shown(true)}.
`;
}
