import { expect, it } from 'vitest';
import { imageTuning, tuningOf } from './image-tuning.ts';

it('takes what tunes Node and glibc from the image, and leaves its folders', () => {
  const dockerfile =
    'FROM scratch\nARG NODE_X=1\nENV NODE_ENV=production NODE_OPTIONS="--a --b=2" HOME=/tmp NODE_COMPILE_CACHE=/app/c\nENV MALLOC_Y=1\n';
  expect(tuningOf(dockerfile)).toEqual({ NODE_ENV: 'production', NODE_OPTIONS: '--a --b=2', MALLOC_Y: '1' });
});

it.each(['Dockerfile.runtime', 'Dockerfile.runtime-gpu', 'Dockerfile.operator'] as const)('reads %s', (dockerfile) => {
  expect(imageTuning(dockerfile)).toMatchObject({
    NODE_ENV: 'production',
    NODE_OPTIONS: expect.stringContaining('--'),
  });
});
