import { expect, it } from 'vitest';
import { longLived, shortLived } from './slab.ts';

it('gives room that nobody else has, whatever the sizes', () => {
  const rooms = Array.from({ length: 2000 }, (_, at) => shortLived((at * 37) % 40_000).fill(at % 251));
  rooms.forEach((room, at) => {
    expect(room.byteLength).toBe((at * 37) % 40_000);
    expect(room.every((byte) => byte === at % 251)).toBe(true);
  });
});

it('copies what is to be kept out of its slab', () => {
  const copy = longLived(shortLived(3).fill(7));
  expect([...copy]).toEqual([7, 7, 7]);
  expect(copy.buffer.byteLength).toBe(3);
});
