import { expect, it } from 'vitest';
import { numberOf, readColdStartOptions, readGpuOptions, readRuntimeOptions } from './options.ts';

const seconds = (given?: string) => numberOf({ seconds: given }, 'seconds', { otherwise: 8, atLeast: 0.1 });
const rounds = (given?: string) => numberOf({ rounds: given }, 'rounds', { otherwise: 3, atLeast: 1, whole: true });

it('reads numbers in their bounds, and has one where none is given', () => {
  expect([seconds(), seconds('0.1'), rounds(), rounds('12')]).toEqual([8, 0.1, 3, 12]);
});

it.each(['x', '', '0', '-1', 'Infinity'])('refuses %j by the name of the option', (given) => {
  expect(() => seconds(given)).toThrow(`--seconds: ${given} is not a number from 0.1`);
});

it('refuses parts where only wholes make sense', () => {
  expect(() => rounds('1.5')).toThrow('--rounds: 1.5 is not a whole number from 1');
});

it('measures cold starts of the bench’s own models, or of one that is named whole', () => {
  expect(readColdStartOptions([])).toEqual({ model: undefined, namespace: 'kubembed', wakes: 20, write: true });
  const given = ['--model', 'team/bge', '--namespace', 'embeddings', '--wakes', '3'];
  expect(readColdStartOptions(given)).toEqual({ model: 'team/bge', namespace: 'embeddings', wakes: 3, write: false });
  expect(() => readColdStartOptions(['--model', 'bge'])).toThrow('--model: bge is not NAMESPACE/NAME');
});

it('takes another server’s executable as a peer', () => {
  expect(readRuntimeOptions(['--tei', '/opt/tei']).tei).toBe('/opt/tei');
  expect(readRuntimeOptions([]).tei).toBeUndefined();
});

it('measures all of the GPU bench, and writes it, where nothing is left out', () => {
  const whole = readGpuOptions([]);
  expect([whole.models, whole.peers, whole.write]).toEqual([
    ['minilm', 'bge-m3', 'qwen3', 'gemma'],
    ['st', 'vllm'],
    true,
  ]);
  expect(whole.cells).toContainEqual({ corpus: 'L', concurrency: 8 });
  expect(readGpuOptions(['--models', 'qwen3']).write).toBe(true);
  for (const part of [['--quick'], ['--peers', 'st'], ['--cells', 'A:64'], ['--stand-in']]) {
    expect(readGpuOptions(part).write).toBe(false);
  }
  expect(readGpuOptions(['--quick', '--write']).write).toBe(true);
});

it.each([
  [['--models', 'bert'], 'no model bert; there are minilm, bge-m3, qwen3, gemma'],
  [['--peers', 'tei'], 'no peer tei; there are st, vllm'],
  [['--cells', 'Z:1'], 'no corpus Z'],
  [['--cells', 'A:0'], '--cells: 0 is not a whole number from 1'],
  [['--stand-in', '--write'], '--stand-in measures no GPU'],
] as const)('refuses %j of the GPU bench by name', (args, message) => {
  expect(() => readGpuOptions(args)).toThrow(message);
});
