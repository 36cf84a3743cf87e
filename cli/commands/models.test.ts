import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheTwin, readTwin } from '../../tests/helpers/twins.ts';
import type { CliIo } from '../command.ts';
import { modelsGroup } from './models.ts';

describe('adding a model', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kubembed-models-'));
    for (const name of ['bert-cls', 'bert-mean']) await cacheTwin(readTwin(name), folder);
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  const add = async (words: readonly string[], env: Record<string, string> = {}) => {
    const file = join(folder, 'supported_models.txt');
    await writeFile(file, '');
    const said: string[] = [];
    const io = {
      env: { HF_HUB_CACHE: folder, HF_HUB_OFFLINE: '1', ...env },
      write: () => undefined,
      writeError: (text: string) => void said.push(text),
      signal: new AbortController().signal,
    } as unknown as CliIo;
    await modelsGroup.commands['add']?.run([...words, '--file', file], io);
    return { list: await readFile(file, 'utf8'), said: said.join('') };
  };

  it('follows the repository where that declares another pooling than the mean, and says why', async () => {
    const { list, said } = await add(['twins/bert-cls', 'alias=x']);
    expect(list).toBe('twins/bert-cls alias=x pooling=declared\n');
    expect(said).toContain('The repository of twins/bert-cls declares cls pooling: its line says pooling=declared.');
  });

  it('adds nothing where the repository has the mean, where the line says which, and where silence follows the repository', async () => {
    expect((await add(['twins/bert-mean'])).list).toBe('twins/bert-mean\n');
    expect((await add(['twins/bert-cls', 'pooling=mean'])).list).toBe('twins/bert-cls pooling=mean\n');
    const followed = await add(['twins/bert-cls'], { KUBEMBED_UNSET_POOLING: 'declared' });
    expect(followed.list).toBe('twins/bert-cls\n');
  });

  it('says of a model that nobody could be asked about that it is not known, not that it cannot be served', async () => {
    const said: string[] = [];
    const io = {
      env: { HF_HUB_CACHE: folder, HF_HUB_OFFLINE: '1' },
      write: (text: string) => void said.push(text),
      output: { colour: false },
      signal: new AbortController().signal,
    } as unknown as CliIo;
    const check = async (...words: string[]) => await modelsGroup.commands['check']?.run(words, io);
    expect(await check('twins/unknown')).toBe(1);
    expect(said.join('')).toMatch(/^\? twins\/unknown: not known whether it can be served: HubUnreachable/);
    said.length = 0;
    await check('twins/unknown', '--json');
    expect(JSON.parse(said.join(''))).toMatchObject({ servable: null, reason: 'HubUnreachable' });
  });

  it('adds the line of a model that nobody knows, and says that', async () => {
    const { list, said } = await add(['twins/unknown']);
    expect(list).toBe('twins/unknown\n');
    expect(said).toMatch(/Which pooling twins\/unknown declares is not known.*models check/s);
  });
});
