// The `kubembed` command on a terminal: `start` and what it says when it cannot, colours, progress, `--watch`, completion by a shell.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { completeInBash, runCli, startCli, startOnTerminal } from '../helpers/cli.ts';
import type { CliProcess, CliResult } from '../helpers/cli.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { eventually } from '../helpers/local-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

let hub: HubServer;
let folder: string;
let server: CliProcess;
let url: string;

/** Options of `kubembed start` that keep it within one folder. */
const places = (name: string): string[] => [
  ...['--supported-models', join(folder, 'supported_models.txt')],
  ...['--models', join(folder, name, 'models')],
  ...['--data', join(folder, name, 'data')],
];
const environment = (): Record<string, string> => ({
  HF_ENDPOINT: hub.endpoint,
  HF_HUB_CACHE: join(folder, 'store'),
});

beforeAll(async () => {
  hub = await startHubServer();
  const files = await tinyModel();
  for (const id of ['tiny/one', 'tiny/two']) hub.commit(id, files);
  folder = await mkdtemp(join(tmpdir(), 'kubembed-terminal-'));
  await writeFile(join(folder, 'supported_models.txt'), 'tiny/one\ntiny/two\n');
  server = startCli(['start', '--port', '0', ...places('first')], { env: environment() });
  const ready = await eventually(
    () => Promise.resolve(/kubembed is ready at (http:\S+)\/v1/.exec(server.out())?.[1]),
    (address) => address !== undefined,
  );
  url = ready ?? '';
});
afterAll(async () => {
  server.process.kill('SIGINT');
  await server.done;
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});

const kubembed = async (...args: readonly string[]): Promise<CliResult> =>
  await runCli([...args, '--endpoint', url], { env: environment() });

describe('kubembed start', () => {
  it('serves what is listed, and ends at Ctrl-C', async () => {
    expect(server.out()).toMatch(/^ {2}tiny\/one$/m);
    expect((await kubembed('embed', '-m', 'tiny/one', 'abc')).out.trim().split(' ')).toHaveLength(32);
    const second = startOnTerminal(['start', '--port', '0', ...places('second')], environment());
    await eventually(
      () => Promise.resolve(second.shown()),
      (text) => text.includes('Ctrl-C stops it.'),
    );
    second.press('\u0003');
    expect(await second.exit).toBe(0);
  });

  it('says in one line why it cannot start, before it fetches anything', async () => {
    const port = new URL(url).port;
    const store = join(folder, 'never');
    const env = { ...environment(), HF_HUB_CACHE: store };
    const taken = await runCli(['start', '--port', port, ...places('third')], { env });
    expect(taken).toMatchObject({
      code: 1,
      out: '',
      error: `kubembed: Port ${port} of 127.0.0.1 is taken, perhaps by another kubembed. End that, or give another port with --port.\n`,
    });
    const unlisted = await runCli(['start', '--port', '0', '--supported-models', '/nowhere/list.txt'], {
      env,
      cwd: folder,
    });
    expect(unlisted).toMatchObject({
      code: 1,
      error: 'kubembed: /nowhere/list.txt cannot be read. Name the list of models with --supported-models.\n',
    });
    expect(await readdir(folder)).not.toContain('never');
  });
});

describe('mistakes', () => {
  it.each([
    [['embed', '-m', 'one', 'abc'], /404.* Did you mean tiny\/one\?\n$/],
    [['embed', '-m', 'text-embedding-3-small', 'abc'], /404.* It serves tiny\/one, tiny\/two\.\n$/],
    [['status', 'tiny/tow'], /has no model "tiny\/tow"\. Did you mean tiny\/two\?\n$/],
    [['status', 'elsewhere'], /has no model "elsewhere"\. It serves tiny\/one, tiny\/two\.\n$/],
  ])('%j is told what there is', async (args, words) => {
    const { code, error } = await kubembed(...args);
    expect([code, error]).toEqual([1, expect.stringMatching(words)]);
  });

  it('in an address are named with where it comes from', async () => {
    const wrong = await runCli(['status', '--endpoint', 'localhost:11445']);
    expect(wrong).toMatchObject({
      code: 2,
      error: expect.stringMatching(/^kubembed: --endpoint: .*http:\/\//) as string,
    });
    const set = await runCli(['status'], { env: { OPENAI_BASE_URL: 'api' } });
    expect(set).toMatchObject({ code: 2, error: expect.stringContaining('OPENAI_BASE_URL: expected') as string });
    const away = await runCli(['status', '--endpoint', 'http://127.0.0.1:65535/v1']);
    expect(away.error).toBe(
      'kubembed: No answer from http://127.0.0.1:65535 (ECONNREFUSED): is it running? Start one with "npx kubembed start", or give --endpoint.\n',
    );
  });
});

describe('a terminal', () => {
  it('gets colours, unless it wants none', async () => {
    const shownWith = async (env: Record<string, string>): Promise<string> => {
      const screen = startOnTerminal(['status', '--endpoint', url], env);
      await screen.exit;
      return screen.shown();
    };
    await kubembed('embed', '-m', 'tiny/one', 'abc');
    expect(await shownWith({})).toContain('\u001B[32mready\u001B[39m');
    expect(await shownWith({ NO_COLOR: '1' })).toMatch(/^tiny\/one +ready /m);
  });

  it('is drawn over by --watch, until Ctrl-C', async () => {
    const screen = startOnTerminal(['status', '--watch', '--interval', '1', '--endpoint', url]);
    const drawings = (text: string): number => text.split('\u001B[H').length - 1;
    const text = await eventually(
      () => Promise.resolve(screen.shown()),
      (shown) => drawings(shown) > 2,
    );
    expect(text.startsWith('\u001B[2J\u001B[H')).toBe(true);
    screen.press('\u0003');
    expect(await screen.exit).toBe(0);
  });

  it('tells the command of Ctrl-C once: a second time, it could die of it while it leaves', async () => {
    const told = `if (process.argv[1].endsWith('main.ts')) process.on('SIGINT', () => { console.log('told'); setTimeout(() => {}, 400); })`;
    const screen = startOnTerminal(['status', '--watch', '--endpoint', url], {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(told)}`,
    });
    await eventually(
      () => Promise.resolve(screen.shown()),
      (shown) => shown.includes('tiny/one'),
    );
    screen.press('\u0003');
    expect(await screen.exit).toBe(0);
    expect(screen.shown().match(/told/g)).toHaveLength(1);
  });

  it('sees how far bench is, and the result alone in the end', async () => {
    const screen = startOnTerminal(['bench', '-m', 'tiny/one', '--seconds', '2', '-c', '2', '--endpoint', url]);
    expect(await screen.exit).toBe(0);
    const bars = [...screen.shown().matchAll(/\[(█*)(░*)\] (\d+) tokens\/s/g)];
    expect(bars.length).toBeGreaterThan(3);
    for (const [, full = '', empty = ''] of bars) expect(full.length + empty.length).toBe(30);
    const lengths = bars.map(([, full = '']) => full.length);
    expect(lengths).toEqual(lengths.toSorted((a, b) => a - b));
    const result = screen.shown().split('\r\u001B[K').at(-1);
    expect(result).toMatch(/^requests +\d+ [^]*\ntokens\/s +\d+\r?\nlatency ms +p50 [\d.]+ +p90/);
  });

  it('may end bench early, and gets what was measured', async () => {
    const screen = startOnTerminal(['bench', '-m', 'tiny/one', '--seconds', '600', '--endpoint', url]);
    await eventually(
      () => Promise.resolve(screen.shown()),
      (text) => /\] [1-9]\d* tokens\/s/.test(text),
    );
    screen.press('\u0003');
    expect(await screen.exit).toBe(0);
    expect(screen.shown()).toMatch(/requests +\d+ /);
    expect(screen.shown()).not.toContain('errors');
  });
});

it.each([
  ['kubembed ', ['start', 'status', 'embed', 'bench', 'size', 'models', 'completion', '--help', '--version']],
  ['kubembed st', ['start', 'status']],
  ['kubembed models ch', ['check']],
  ['kubembed models check --prec', ['--precision']],
  ['kubembed models check --precision ', ['float32', 'float16', 'int8']],
  ['kubembed completion ', ['bash', 'zsh', 'fish', '--help']],
])('bash completes "%s"', async (line, words) => {
  expect(await completeInBash(line)).toEqual(words);
});
