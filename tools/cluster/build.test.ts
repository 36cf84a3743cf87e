import { expect, it } from 'vitest';
import { isNewEnough } from './build.ts';

it('takes a Go that is as new as go.mod asks for, by numbers', () => {
  const goMod = 'module x\n\ngo 1.24.3\n';
  const answer = (version: string): string => `go version go${version} linux/amd64\n`;
  expect(['1.24.3', '1.24.10', '1.25', '1.26.8', '2.0'].filter((one) => !isNewEnough(answer(one), goMod))).toEqual([]);
  expect(['1.19.8', '1.24', '1.24.2', '1.9'].filter((one) => isNewEnough(answer(one), goMod))).toEqual([]);
  expect(isNewEnough('command not found', goMod)).toBe(false);
});
