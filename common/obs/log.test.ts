import { expect, it } from 'vitest';
import { createLog, readableLine } from './log.ts';

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
