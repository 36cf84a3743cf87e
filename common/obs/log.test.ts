import { EventEmitter } from 'node:events';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { LEVEL_SIGNAL, createLog, readableLine, switchLevelOnSignal } from './log.ts';
import type { LogLevel } from './log-level.ts';

function capture(readable: boolean): { lines: string[]; log: ReturnType<typeof createLog>['log'] } {
  const lines: string[] = [];
  const { log } = createLog({
    name: 'runtime',
    level: 'info',
    readable,
    destination: { write: (line) => void lines.push(line) },
  });
  return { lines, log };
}

it('writes one JSON object a line, and changes its level while it runs', () => {
  const { lines, log } = capture(false);
  log.debug('Hidden');
  log.level = 'debug';
  log.debug({ port: 1 }, 'Shown');
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { level: 'debug', time: expect.stringMatching(/Z$/), name: 'runtime', message: 'Shown', port: 1 },
  ]);
});

it('writes for people on a terminal, errors with their stack', () => {
  const { lines, log } = capture(true);
  log.warn({ port: 1, model: 'm', error: new Error('cause') }, 'Trouble');
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d WARN {2}runtime Trouble port=1 model=m\n {2}Error: cause\n/);
  expect(readableLine('not json\n')).toBe('not json\n');
});

it('gathers lines, and writes them out with the first warning', async () => {
  // No block is written because time passed.
  const timer = vi.spyOn(globalThis, 'setInterval').mockReturnValue(setImmediate(() => undefined) as never);
  try {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'kubembed-log-'));
    const destination = join(dir.path, 'log');
    const { log } = createLog({ name: 'runtime', level: 'info', readable: false, destination });
    const messages = async () =>
      (await readFile(destination, 'utf8').catch(() => ''))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => (JSON.parse(line) as { message: string }).message);
    log.info('One');
    await setTimeout(20);
    expect(await messages()).toEqual([]);
    log.warn('Two');
    await expect.poll(messages).toEqual(['One', 'Two']);
  } finally {
    timer.mockRestore();
  }
});

it.each<[LogLevel, LogLevel]>([
  ['info', 'debug'],
  ['error', 'debug'],
  ['debug', 'info'],
])('goes from %s to %s at the signal, and back at the next', (configured, other) => {
  const { log } = capture(false);
  log.level = configured;
  const signals = new EventEmitter();
  switchLevelOnSignal(signals, log, configured);
  signals.emit(LEVEL_SIGNAL);
  expect(log.level).toBe(other);
  signals.emit(LEVEL_SIGNAL);
  expect(log.level).toBe(configured);
});
