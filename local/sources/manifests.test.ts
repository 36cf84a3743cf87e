import { describe, expect, it } from 'vitest';
import { parseManifests } from './manifests.ts';

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

  it('passes on what validation says', () => {
    expect(parseManifests(good('a'), () => ['spec.device: no']).problems).toEqual(['line 1: spec.device: no']);
  });
});
