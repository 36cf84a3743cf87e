// What a person sees when local mode is up: the address, the models, and a request to paste. Pure.

export function banner(url: string, models: readonly string[]): string {
  const [first = 'sentence-transformers/all-MiniLM-L6-v2'] = models;
  const body = JSON.stringify({ model: first, input: 'The quick brown fox jumps over the lazy dog' });
  return [
    '',
    `kubembed is ready at ${url}/v1   (status: ${url}/   docs: ${url}/docs)`,
    '',
    'Models, each started by its first request:',
    ...models.map((model) => `  ${model}`),
    '',
    'Try it:',
    `  curl ${url}/v1/embeddings -H 'content-type: application/json' \\`,
    `    -d '${body}'`,
    '',
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}
