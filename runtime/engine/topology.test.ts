import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultFronts } from '../model/memory.ts';
import { chooseTopology } from './load.ts';

const GB = 1e9;
/** No room for a prepared copy: every session has its own. */
const noScratch = { scratchBytes: 0 };
const minilm = { device: 'cpu', weightBytes: 90e6, maxTokens: 256, hiddenSize: 384, vocabularySize: 30_522 } as const;
const large = {
  device: 'cpu',
  weightBytes: 1.3 * GB,
  maxTokens: 512,
  hiddenSize: 1024,
  vocabularySize: 30_522,
} as const;

describe('chooseTopology', () => {
  it.each([
    [
      'a worker of one thread for each CPU, of which the first may get all',
      { cpus: 4, memoryBytes: 8 * GB },
      minilm,
      [4, 1, 4],
    ],
    ['no solo mode on one CPU', { cpus: 1, memoryBytes: 8 * GB }, minilm, [1, 1, undefined]],
    ['at most eight threads for it', { cpus: 32, memoryBytes: 64 * GB }, minilm, [32, 1, 8]],
    ['no solo mode beside nobody', { cpus: 2, memoryBytes: 0.3 * GB }, minilm, [1, 2, undefined]],
    ['fewer workers with more threads when memory is short', { cpus: 4, memoryBytes: 4 * GB }, large, [2, 2, 4]],
    [
      'two workers on a GPU',
      { cpus: 16, memoryBytes: 8 * GB },
      { ...large, device: 'gpu' as const },
      [2, 1, undefined],
    ],
  ])('%s', (_, machine, needs, [workers, threadsPerWorker, soloThreads]) => {
    const topology = chooseTopology({ ...machine, ...noScratch }, needs);
    expect([topology.workers, topology.threadsPerWorker, topology.soloThreads]).toEqual([
      workers,
      threadsPerWorker,
      soloThreads,
    ]);
  });

  it('lets many sessions of a large model share one copy of its weights', () => {
    const machine = { cpus: 8, memoryBytes: 5 * GB };
    expect(chooseTopology({ ...machine, scratchBytes: 10 * GB }, large)).toMatchObject({ workers: 8, shared: true });
    expect(chooseTopology({ ...machine, scratchBytes: 1 * GB }, large)).toMatchObject({ workers: 3, shared: false });
    expect(chooseTopology({ cpus: 2, memoryBytes: 5 * GB, scratchBytes: 10 * GB }, large).shared).toBe(true);
    expect(chooseTopology({ cpus: 2, memoryBytes: 5 * GB, scratchBytes: 10 * GB }, minilm).shared).toBe(false);
  });

  it('knows what a run of the longest text holds, with biases for each pair of tokens', () => {
    const bytesOf = (maxTokens: number, pairBytes: number) => {
      const held = { tokenNumbers: 10_000, pairBytes };
      const machine = { cpus: 1, memoryBytes: 64 * GB, ...noScratch };
      return chooseTopology(machine, { ...minilm, maxTokens, held }).estimatedBytes;
    };
    expect(bytesOf(512, 96) - bytesOf(512, 0)).toBe(512 ** 2 * 96);
    expect(bytesOf(2048, 0) - bytesOf(1024, 0)).toBeGreaterThan(1024 * 40_000);
    // Of longer texts no more pairs are held than of one of 1,024 tokens.
    expect(bytesOf(4096, 400) - bytesOf(1024, 400)).toBeLessThan(bytesOf(4096, 0) - bytesOf(1024, 0));
  });

  it('refuses with numbers and advice what cannot fit', () => {
    expect(() => chooseTopology({ cpus: 4, memoryBytes: 0.5 * GB, ...noScratch }, large)).toThrow(
      expect.objectContaining({
        reason: 'InsufficientMemory',
        message: expect.stringMatching(/needs about 1520 MB.*limit is 500 MB.*resources\.limits\.memory/u) as string,
      }) as Error,
    );
  });

  it('never takes more threads or memory than there are', () => {
    fc.assert(
      fc.property(fc.nat(64), fc.nat(64), fc.constantFrom(0, 100 * GB), (more, gigabytes, scratchBytes) => {
        const cpus = 1 + more;
        const memoryBytes = gigabytes * GB;
        fc.pre(gigabytes >= 2);
        const { workers, threadsPerWorker, estimatedBytes } = chooseTopology(
          { cpus, memoryBytes, scratchBytes },
          large,
        );
        expect(workers).toBeGreaterThan(0);
        expect(workers * threadsPerWorker).toBeLessThanOrEqual(cpus);
        expect(estimatedBytes).toBeLessThanOrEqual(memoryBytes);
      }),
    );
  });
});

describe('defaultFronts', () => {
  const GIB = 2 ** 30;
  it.each([
    ['one on a CPU, however many', 'cpu', { cpus: 64, memoryBytes: 256 * GIB }, 1],
    ['one for each two CPUs of a GPU', 'gpu', { cpus: 4, memoryBytes: 8 * GIB }, 2],
    ['one at least', 'gpu', { cpus: 1, memoryBytes: 1 * GIB }, 1],
    ['no more than memory has room for', 'gpu', { cpus: 16, memoryBytes: 8 * GIB }, 4],
    ['eight at most', 'gpu', { cpus: 64, memoryBytes: 256 * GIB }, 8],
  ] as const)('%s', (_, device, machine, fronts) => {
    expect(defaultFronts(device, machine)).toBe(fronts);
  });

  it('counts in what a start needs', () => {
    const needs = { ...minilm, device: 'gpu' as const, vocabularySize: 250_000 };
    const estimate = (fronts?: number) =>
      chooseTopology({ cpus: 16, memoryBytes: 64 * GB, ...noScratch }, { ...needs, fronts: fronts ?? 1 })
        .estimatedBytes;
    expect(estimate(1)).toBe(estimate());
    // A tokenizer of so many words takes 213 MB.
    expect(estimate(4) - estimate(1)).toBeGreaterThan(3 * 213e6);
    expect(() => chooseTopology({ cpus: 16, memoryBytes: 0.8 * GB, ...noScratch }, { ...needs, fronts: 8 })).toThrow(
      /needs about/,
    );
  });
});
