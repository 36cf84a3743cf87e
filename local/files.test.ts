import { describe, expect, it } from 'vitest';
import { parseManifests } from './files.ts';

const good = (name: string): string =>
  `apiVersion: kubembed.dev/v1alpha1\nkind: EmbeddingModel\nmetadata: {name: ${name}}\nspec: {model: org/${name}}\n`;
const accept = (): string[] => [];

describe('parseManifests', () => {
  it('reads several documents and skips empty ones', () => {
    const { models, problems } = parseManifests(`---\n${good('a')}---\n---\n${good('b')}`, accept);
    expect(models.map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    expect(problems).toEqual([]);
  });

  it('reports a bad document with its line and keeps the others', () => {
    const { models, problems } = parseManifests(
      `${good('a')}---\nkind: Pod\napiVersion: v1\n---\n${good('b')}`,
      accept,
    );
    expect(models).toHaveLength(2);
    expect(problems).toEqual([expect.stringMatching(/^line 6: expected apiVersion .* found v1 Pod$/)]);
  });

  it('reports broken YAML with its line', () => {
    const { models, problems } = parseManifests(`${good('a')}---\nkind: [\n`, accept);
    expect(models).toHaveLength(1);
    expect(problems[0]).toMatch(/^line \d+: /);
  });

  it.each([
    ['spec.scaling.maxReplicas: no', 8],
    ['spec.servedNames[1]: no', 11],
    ['spec.tokenSecretRef: required', 5],
    ['metadata.name: no', 4],
    ['everything', 2],
  ])('passes on what validation says, with the line of the field: %s', (fault, line) => {
    const text = [
      '# mine',
      'apiVersion: kubembed.dev/v1alpha1',
      'kind: EmbeddingModel',
      'metadata: { name: a }',
      'spec:',
      '  model: org/a',
      '  scaling:',
      '    maxReplicas: -1',
      '  servedNames:',
      '    - one',
      '    - two words',
    ].join('\n');
    expect(parseManifests(text, () => [fault]).problems).toEqual([`line ${line}: ${fault}`]);
  });

  it('says where broken YAML breaks once, not twice', () => {
    const { problems } = parseManifests('metadata: {name: c\nspec: {model: foo/bar}\n', accept);
    expect(problems).toEqual([expect.stringMatching(/^line 2: Flow map .* with a }$/)]);
  });
});
