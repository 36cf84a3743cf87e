// The reference page of the HTTP API, from the OpenAPI document that router and runtime serve. Pure.
import { code, table } from './markdown.ts';
import { fieldRow, fieldsOf, typeInWords } from './schema.ts';
import type { Schema } from './schema.ts';

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}
interface Response extends Content {
  readonly description: string;
  readonly headers?: Readonly<Record<string, { readonly description?: string; readonly schema: Schema }>>;
}
interface Operation {
  readonly tags: readonly string[];
  readonly summary: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly description?: string;
    readonly schema: Schema;
  }[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Response>>;
}
export interface OpenApi {
  readonly info: { readonly description: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const schemaLink = (content: Content): string => {
  const schema = Object.values(content.content ?? {})[0]?.schema;
  if (schema === undefined) return '';
  const words = typeInWords(schema);
  return schema.$ref === undefined ? words : `[${words}](#${words.toLowerCase()})`;
};

function operation(method: string, path: string, of: Operation): string {
  const { summary, parameters = [], requestBody, responses } = of;
  const headers = Object.values(responses).flatMap((response) => Object.entries(response.headers ?? {}));
  return [
    // As code: the site takes braces at the end of a heading for attributes.
    `### ${method.toUpperCase()} ${code(path)}`,
    `${summary}.`,
    ...(parameters.length === 0
      ? []
      : [
          table(
            ['Parameter', 'In', 'Type', 'Meaning'],
            parameters.map((one) => [code(one.name), one.in, typeInWords(one.schema), one.description ?? '']),
          ),
        ]),
    ...(requestBody === undefined ? [] : [`Body: ${schemaLink(requestBody)}.`]),
    table(
      ['Status', 'Meaning', 'Body'],
      Object.entries(responses).map(([status, response]) => [status, response.description, schemaLink(response)]),
    ),
    ...(headers.length === 0
      ? []
      : [
          table(
            ['Response header', 'Type', 'Meaning'],
            headers.map(([name, { description = '', schema }]) => [code(name), typeInWords(schema), description]),
          ),
        ]),
  ].join('\n\n');
}

/** What one of several forms may be, where the forms have descriptions of their own. */
const formsOf = (name: string, schema: Schema): string[] =>
  (schema.anyOf ?? [])
    .filter(({ description }) => description !== undefined)
    .map((form) => `- ${code(name)} as ${typeInWords(form)}: ${form.description!}`);

function component([name, schema]: readonly [string, Schema]): string {
  const forms = Object.entries(schema.properties ?? {}).flatMap(([field, one]) => formsOf(field, one));
  return [
    `### ${name}`,
    table(['Field', 'Type', 'Limits', 'Meaning'], fieldsOf(schema).map(fieldRow)),
    ...(forms.length === 0 ? [] : [forms.join('\n')]),
  ].join('\n\n');
}

export function renderApi(document: OpenApi): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, of]) => ({ tag: of.tags[0], text: operation(method, path, of) })),
  );
  const sections = document.tags.map(({ name }) => {
    const texts = operations.filter(({ tag }) => tag === name).map(({ text }) => text);
    return `## ${name}\n\n${texts.join('\n\n')}`;
  });
  return `# API

${document.info.description} Router and runtime serve the same API and this document of it: \`/openapi.json\`, with Swagger UI at \`/docs\` and Redoc at \`/redoc\`.

Where the router has [API keys](../security.md#api-keys), requests carry \`Authorization: Bearer KEY\`. Every error, whatever its source, is the OpenAI error object
([Error](#error)); 429 and 503 have \`Retry-After\`.

${sections.join('\n\n')}

## Schemas

${Object.entries(document.components.schemas).map(component).join('\n\n')}
`;
}
