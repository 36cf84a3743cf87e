import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseCatalog } from '../api/catalog.ts';
import { eventually } from '../tests/helpers/stub-runtime-cluster.ts';
import { followCatalogFile, parseManifests } from './files.ts';

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

describe('the list of supported models', () => {
  const follow = async (text: string) => {
    const dir = mkdtempSync(join(tmpdir(), 'kubembed-list-'));
    const path = join(dir, 'list.txt');
    writeFileSync(path, text);
    const over = new AbortController();
    onTestFinished(() => {
      over.abort();
      rmSync(dir, { recursive: true, force: true });
    });
    const warnings: string[] = [];
    const { loaded, source } = followCatalogFile(path, 'ns', (words) => warnings.push(words), over.signal);
    await loaded;
    const models = (): string => [...parseCatalog(source.current()?.text ?? '').models].join(' ');
    return { models, warnings, write: (next: string | Buffer) => writeFileSync(path, next) };
  };

  it('is followed: what is new at once, what is gone when it stays gone', async () => {
    const { models, write } = await follow('org/a\norg/b\n');
    write('org/a\norg/b\norg/c\n');
    await eventually(() => models() === 'org/a org/b org/c');
    write('org/c\n');
    await eventually(() => models() === 'org/c');
  });

  it.each([
    ['empty', ''],
    ['of comments', '# nothing\n'],
    ['of bytes that are no text', Buffer.from([0, 255, 254, 10, 7, 0])],
  ])('takes no model away when it is %s', async (_what, next) => {
    const { models, write, warnings } = await follow('org/a\norg/b\n');
    write(next);
    await eventually(() => warnings.length > 0);
    expect(models()).toBe('org/a org/b');
    write('org/b\norg/a\norg/d\n');
    await eventually(() => models() === 'org/b org/a org/d');
  });

  it('takes no model away while it is being written line by line', async () => {
    const { models, write } = await follow('org/a\norg/b\norg/c\n');
    const seen = new Set<string>();
    for (const text of ['', 'org/a\n', 'org/a\norg/b', 'org/a\norg/b\n', 'org/a\norg/b\norg/c\norg/d\n']) {
      write(text);
      for (let look = 0; look < 10; look += 1) {
        seen.add(models());
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await eventually(() => models() === 'org/a org/b org/c org/d');
    expect([...seen].filter((names) => !names.startsWith('org/a org/b org/c'))).toEqual([]);
  });
});
