// What a person sees when local mode is up: the addresses, the models, and a request to paste. Pure.

const modelLines = (models: readonly string[], listFile: string): readonly string[] =>
  models.length === 0
    ? [`No models yet: add Hugging Face ids to ${listFile}, one a line. The endpoint follows.`]
    : ['Models, each started by its first request:', ...models.map((model) => `  ${model}`)];

function requestLines(url: string, [first]: readonly string[]): readonly string[] {
  if (first === undefined) return [];
  const body = JSON.stringify({ model: first, input: 'The quick brown fox jumps over the lazy dog' });
  return ['Try it:', `  curl ${url}/v1/embeddings -H 'content-type: application/json' \\`, `    -d '${body}'`, ''];
}

export function banner(url: string, models: readonly string[], listFile: string): string {
  return [
    '',
    `kubembed is ready at ${url}/v1`,
    '',
    `  status page  ${url}/`,
    `  API          ${url}/docs`,
    '',
    ...modelLines(models, listFile),
    '',
    ...requestLines(url, models),
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}
