import { expect, it } from 'vitest';
import { runWithin } from './run-within.ts';

const node = async (limitMs: number, code: string): Promise<number | 'late'> =>
  await runWithin(limitMs, process.execPath, ['--eval', code], process.cwd());

it('says how a command ended', async () => {
  expect(await node(60_000, '')).toBe(0);
  expect(await node(60_000, 'process.exit(3)')).toBe(3);
  expect(await node(60_000, 'process.kill(process.pid, "SIGKILL")')).toBe(1);
});

it('ends a command that never yields', async () => {
  expect(await node(500, 'for (;;);')).toBe('late');
});

it('fails where there is no such command', async () => {
  await expect(runWithin(1000, './no-such-command', [], process.cwd())).rejects.toThrow('ENOENT');
});
