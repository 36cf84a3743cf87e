// The npm package of the command, where npm would put it: it runs as JavaScript, starts local mode, and asks it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writePackage } from '../../tools/release/npm-package.ts';
import { eventually } from '../helpers/local-process.ts';
import { MINILM, minilm, testStore } from '../helpers/minilm.ts';

const ROOT = join(import.meta.dirname, '..', '..');

let folder: string;
let command: string;
beforeAll(async () => {
  await minilm();
  folder = await mkdtemp(join(tmpdir(), 'kubembed-npm-package-'));
  const modules = join(folder, 'node_modules');
  await mkdir(join(modules, '@owner'), { recursive: true });
  for (const name of await readdir(join(ROOT, 'node_modules')))
    await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  writePackage(join(modules, '@owner', 'kubembed'), '@owner/kubembed', 'https://github.com/owner/kubembed');
  command = join(modules, '@owner', 'kubembed', 'cli', 'kubembed.js');
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

it('says its version, serves, and embeds', async () => {
  const list = join(folder, 'list.txt');
  await writeFile(list, `${MINILM}\n`);
  const env = { ...process.env, KUBEMBED_STORE: testStore, KUBEMBED_LOG_LEVEL: 'warn' };
  const kubembed = (...args: readonly string[]) => {
    const child = spawn(process.execPath, [command, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { text: '' };
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said.text += chunk.toString()));
    return { child, said, ended: once(child, 'close') };
  };

  const version = kubembed('--version');
  await version.ended;
  expect(version.said.text.trim()).toBe('0.1.0');

  const local = kubembed('start', '--port', '0', '--supported-models', list, '--data', join(folder, 'data'));
  try {
    const ready = /kubembed is ready at (http:\S+)\/v1/;
    await eventually(
      () => Promise.resolve(local.said.text),
      (text) => ready.test(text) || local.child.exitCode !== null,
    );
    const url = ready.exec(local.said.text)?.[1] ?? local.said.text;
    const embed = kubembed('embed', '--endpoint', url, '-m', MINILM, 'a cat');
    await embed.ended;
    expect(embed.said.text.trim().split(' ')).toHaveLength(384);
  } finally {
    local.child.kill('SIGINT');
    await local.ended;
  }
});
