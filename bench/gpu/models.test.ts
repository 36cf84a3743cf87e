// The shapes are those of the models that people use, and their graphs for a GPU make nothing of all pairs of tokens by themselves.
import { describe, expect, it } from 'vitest';
import { buildGraph } from '../../runtime/graph/build.ts';
import { describeModel } from '../../runtime/model/description.ts';
import type { MadeModel } from '../../tests/helpers/made-model.ts';
import { gpuModel } from './models.ts';
import type { GpuModelName, Precision } from './names.ts';

const shaped = (name: GpuModelName): MadeModel => gpuModel(name, false).shaped!.model;

const millions = ({ shapes }: MadeModel): number =>
  Object.values(shapes).reduce((sum, dims) => sum + dims.reduce((product, dim) => product * dim, 1), 0) / 1e6;

it('are whole', () => {
  expect(millions(shaped('bge-m3'))).toBeCloseTo(567, 0);
  expect(millions(shaped('qwen3'))).toBeCloseTo(596, 0);
  expect(millions(shaped('gemma'))).toBeCloseTo(303, 0);
  expect(shaped('bge-m3').config['max_position_embeddings']).toBe(8194);
  expect(gpuModel('bge-m3', false).longTokens).toBe(8192);
});

it('stand-ins are small, and of the same families', () => {
  for (const name of ['bge-m3', 'qwen3', 'gemma'] as const) {
    const { model } = gpuModel(name, true).shaped!;
    expect(millions(model)).toBeLessThan(5);
    expect(model.config['architectures']).toEqual(shaped(name).config['architectures']);
  }
});

describe('a graph for a GPU', () => {
  function operatorsOf(name: GpuModelName, precision: Precision): (operator: string) => boolean {
    const { shapes, config } = shaped(name);
    const tensors = new Map(
      Object.entries(shapes).map(([tensor, shape]) => {
        const byteLength = shape.reduce((product, dim) => product * dim, 4);
        return [tensor, { dtype: 'F32', shape, file: 'model.safetensors', byteOffset: 0, byteLength }] as const;
      }),
    );
    const description = describeModel(new Map([['config.json', config]]));
    const { bytes } = buildGraph(description, tensors, { pooling: 'mean', layout: 'packed', precision });
    return (operator) => Buffer.from(bytes).includes(operator);
  }
  /** What scores, masks and biases of pairs would be made with. */
  const OF_PAIRS = ['Softmax', 'Where', 'Loop', 'If'];
  const made = (has: (operator: string) => boolean): string[] => OF_PAIRS.filter((one) => has(`${one}_`));

  it('of bge-m3 leaves attention to one operator, without a bias', () => {
    for (const precision of ['float16', 'float32'] as const) {
      const has = operatorsOf('bge-m3', precision);
      expect([has('MultiHeadAttention'), made(has)]).toEqual([true, []]);
    }
  });

  it('of Qwen3 goes by the operator for decoders, which holds no scores, in float16 alone', () => {
    const [half, full] = [operatorsOf('qwen3', 'float16'), operatorsOf('qwen3', 'float32')];
    expect([half('GroupQueryAttention'), half('MultiHeadAttention'), made(half)]).toEqual([true, false, []]);
    expect([full('GroupQueryAttention'), full('MultiHeadAttention'), made(full)]).toEqual([false, true, []]);
  });

  it('of EmbeddingGemma has a bias of all pairs for its windows: its texts end at 2,048 tokens', () => {
    const has = operatorsOf('gemma', 'float32');
    expect([has('MultiHeadAttention'), made(has)]).toEqual([true, ['Where']]);
    expect(gpuModel('gemma', false).longTokens).toBe(2048);
  });
});
