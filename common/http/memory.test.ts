import { describe, expect, it } from 'vitest';
import { createMemoryBudget, HELD_SIZES } from './memory.ts';

const KB = 1024;
const kindOf = (act: () => void): unknown => {
  try {
    act();
    return 'taken';
  } catch (error) {
    return (error as { kind?: unknown }).kind;
  }
};

describe('the memory budget', () => {
  it('counts what is held until it is given back', () => {
    const budget = createMemoryBudget(1000 * KB);
    const [one, two] = [budget.reserve(), budget.reserve()];
    one.grow(10);
    one.grow(100 * KB);
    two.grow(5);
    expect([one.bytes, budget.heldBytes()]).toEqual([100 * KB + 10, 100 * KB + 15]);
    one.release();
    one.release();
    expect([one.bytes, budget.heldBytes()]).toEqual([0, 5]);
  });

  it('refuses the large first, then the middling, and the small only when all is taken', () => {
    const budget = createMemoryBudget(400 * KB);
    const large = Array.from({ length: 2 }, () => budget.reserve());
    for (const one of large) one.grow(125 * KB);
    expect(kindOf(() => budget.reserve().grow(65 * KB))).toBe('rate_limit_exceeded');
    expect(kindOf(() => large[0]?.grow(1))).toBe('rate_limit_exceeded');
    expect(kindOf(() => budget.reserve().grow(50 * KB))).toBe('taken');
    expect(kindOf(() => budget.reserve().grow(9 * KB))).toBe('rate_limit_exceeded');
    for (let at = 0; at < 12; at++) expect(kindOf(() => budget.reserve().grow(8 * KB))).toBe('taken');
    expect(kindOf(() => budget.reserve().grow(5 * KB))).toBe('rate_limit_exceeded');
    expect(kindOf(() => budget.reserve().grow(4 * KB))).toBe('taken');
    expect(budget.heldBytes()).toBe(400 * KB);
  });

  it('never holds more than it says, whatever grows and shrinks, but for one large exchange', () => {
    const budget = createMemoryBudget(1000 * KB);
    const held = Array.from({ length: 50 }, () => budget.reserve());
    let state = 7;
    const random = (below: number): number => (state = (state * 48_271) % 2_147_483_647) % below;
    for (let step = 0; step < 3000; step++) {
      const one = held[random(held.length)]!;
      const bytes = random(random(4) === 0 ? 200 * KB : 6 * KB);
      if (random(3) === 0) one.shrink(bytes);
      else kindOf(() => one.grow(bytes));
      if (random(50) === 0) one.release();
      const sum = held.reduce((all, { bytes: own }) => all + own, 0);
      expect(budget.heldBytes()).toBe(sum);
      const largest = Math.max(...held.map(({ bytes: own }) => own));
      expect(sum - largest).toBeLessThanOrEqual(1000 * KB);
    }
    for (const one of held) one.release();
    expect(budget.heldBytes()).toBe(0);
  });

  it('takes nothing where it refuses, nor where it is only asked', () => {
    const budget = createMemoryBudget(10);
    const one = budget.reserve();
    one.requireRoom(10);
    expect(kindOf(() => one.requireRoom(11))).toBe('rate_limit_exceeded');
    expect(kindOf(() => one.grow(11))).toBe('rate_limit_exceeded');
    expect(budget.heldBytes()).toBe(0);
  });

  it('has room for one large exchange of any size, and for the small beside it', () => {
    const budget = createMemoryBudget(400 * KB);
    const huge = budget.reserve();
    huge.grow(300 * KB);
    huge.grow(700 * KB);
    expect(kindOf(() => budget.reserve().grow(70 * KB))).toBe('rate_limit_exceeded');
    expect(kindOf(() => budget.reserve().grow(50 * KB))).toBe('taken');
    for (let at = 0; at < 6; at++) expect(kindOf(() => budget.reserve().grow(8 * KB))).toBe('taken');
    huge.release();
    expect(kindOf(() => budget.reserve().grow(70 * KB))).toBe('taken');
  });

  it('is one for threads that share its rows', () => {
    const rows = Array.from({ length: 2 }, () => new Float64Array(new SharedArrayBuffer(HELD_SIZES * 8)));
    const [one, two] = rows.map((own) => createMemoryBudget(1000 * KB, { own, all: rows }));
    const large = one!.reserve();
    large.grow(600 * KB);
    expect(two!.heldBytes()).toBe(600 * KB);
    expect(kindOf(() => two!.reserve().grow(300 * KB))).toBe('rate_limit_exceeded');
    const small = two!.reserve();
    small.grow(4 * KB);
    expect(one!.heldBytes()).toBe(604 * KB);
    large.release();
    expect(two!.heldBytes()).toBe(4 * KB);
    two!.reserve().grow(300 * KB);
    small.release();
    expect(one!.heldBytes()).toBe(300 * KB);
  });
});
