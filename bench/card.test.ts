import { describe, expect, it } from 'vitest';
import { busyShareOf, parseFacts, parseReading } from './card.ts';

describe('what nvidia-smi prints', () => {
  it('is read line by line', () => {
    expect(parseReading('29, 4873', 5)).toEqual({ atMs: 5, busyPercent: 29, memoryMb: 4873 });
    expect(parseReading('0, 1\r', 5)).toEqual({ atMs: 5, busyPercent: 0, memoryMb: 1 });
  });

  it('of a slice of a card has no share that is busy, which is not zero', () => {
    for (const untold of ['[N/A]', 'N/A', '[Not Supported]', '']) {
      expect(parseReading(`${untold}, 812`, 0)).toEqual({ atMs: 0, busyPercent: NaN, memoryMb: 812 });
    }
  });

  it.each(['', 'utilization.gpu [%], memory.used [MiB]', 'NVIDIA-SMI has failed', '12', '12, [N/A]'])(
    'is no reading: %j',
    (line) => expect(parseReading(line, 0)).toBeUndefined(),
  );

  it('says which card it is', () => {
    const printed = 'NVIDIA H200, 580.159.04, 143771\n';
    expect(parseFacts(printed)).toEqual({ name: 'NVIDIA H200', driver: '580.159.04', memoryMb: 143_771 });
    expect(parseFacts('No devices were found\n')).toBeUndefined();
  });
});

describe('how busy a card is', () => {
  const at = (atMs: number, busyPercent: number) => ({ atMs, busyPercent, memoryMb: 1 });

  it('is the mean behind the first second, which still looks back', () => {
    expect(busyShareOf([at(0, 0), at(900, 10), at(1000, 60), at(1100, 80)], 0)).toBeCloseTo(0.7);
  });

  it('is the mean of all where a window is as short', () => {
    expect(busyShareOf([at(0, 20), at(100, 40)], 0)).toBeCloseTo(0.3);
  });

  it('is not known where the card does not tell, or nothing was read', () => {
    expect(busyShareOf([at(2000, NaN)], 0)).toBeNaN();
    expect(busyShareOf([], 0)).toBeNaN();
  });
});
