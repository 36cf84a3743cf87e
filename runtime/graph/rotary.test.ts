// Rotary frequencies against those of transformers' ROPE_INIT_FUNCTIONS, for heads of 16 numbers and 128 positions.
import { describe, expect, it } from 'vitest';
import type { Config } from '../model/description.ts';
import { frequenciesOf, plainTheta, ropeOf } from './rotary.ts';

const CONFIG = { max_position_embeddings: 128, rope_theta: 10_000 };
const SIZES = { headSize: 16, maxTokens: 128 };
const PLAIN = [1, 0.316_227_8, 0.1, 0.031_622_78, 0.01, 0.003_162_278, 0.001, 0.000_316_227_8];

const ropeFor = (config: Config, sizes = {}) => ropeOf({ ...CONFIG, ...config }, { ...SIZES, ...sizes });

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  for (const [index, value] of expected.entries()) expect((actual[index] ?? NaN) / value).toBeCloseTo(1, 5);
}

describe('rotary frequencies', () => {
  it.each([
    ['plain ones', {}, PLAIN, 1],
    ['linear', { rope_type: 'linear', factor: 4 }, PLAIN.map((one) => one / 4), 1],
    [
      'llama3',
      {
        rope_type: 'llama3',
        rope_theta: 500_000,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
      [1, 0.02424034, 0.004700754, 0.0009115831, 0.0001767767, 3.428102e-5, 6.64787e-6, 1.289173e-6],
      1,
    ],
    [
      'yarn',
      { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 },
      [1, 0.1976424, 0.025, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-5],
      1.138629436,
    ],
    [
      'yarn with all its settings',
      {
        rope_type: 'yarn',
        rope_theta: 1_000_000,
        factor: 4,
        original_max_position_embeddings: 64,
        beta_fast: 8,
        beta_slow: 2,
        truncate: false,
        mscale: 0.7,
        mscale_all_dim: 0.4,
      },
      [1, 0.04445698, 0.007905695, 0.001405853, 0.00025, 4.445699e-5, 7.905694e-6, 1.405853e-6],
      1.039403819,
    ],
    [
      'yarn whose factor is that of the lengths',
      { rope_type: 'yarn', factor: null, original_max_position_embeddings: 32, attention_factor: 1.25 },
      [1, 0.1976424, 0.025, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-5],
      1.25,
    ],
  ])('of %s', (_what, scaling, frequencies, factor) => {
    for (const spelling of ['rope_scaling', 'rope_parameters']) {
      const rope = ropeFor({ [spelling]: scaling });
      expectClose(rope.frequencies, frequencies);
      expect(rope.factor).toBeCloseTo(factor, 6);
    }
  });

  it('take old spellings before new ones, as transformers does', () => {
    const scaling = { type: 'linear', factor: 2 };
    expectClose(
      ropeFor({ rope_scaling: scaling, rope_parameters: { rope_theta: 7 } }).frequencies,
      PLAIN.map((one) => one / 2),
    );
    expectClose(ropeFor({ rope_scaling: {}, rope_parameters: { rope_theta: 7 } }).frequencies, [
      ...frequenciesOf(7, 16),
    ]);
  });

  it('cover a part of each head where the architecture has such', () => {
    expect(ropeFor({ partial_rotary_factor: 0.25 }, { partial: true }).frequencies).toHaveLength(2);
    expect(() => ropeFor({ partial_rotary_factor: 0.25 })).toThrow(/partial_rotary_factor 0.25/);
    expect(() => ropeFor({ partial_rotary_factor: 0.2 }, { partial: true })).toThrow(/partial_rotary_factor 0.2/);
  });

  it('are plain below the length where dynamic ones begin, and refused beyond', () => {
    const config = { rope_scaling: { type: 'dynamic', factor: 2 } };
    expectClose(ropeFor(config).frequencies, PLAIN);
    expect(() => ropeFor(config, { maxTokens: 129 })).toThrow(/rope_type dynamic.*128 tokens.*takes 129/);
  });

  it.each([
    ['another type', { type: 'longrope', factor: 4 }, /type "longrope".*default, linear/],
    ['settings that mean another formula', { type: 'default', mrope_section: [1, 2, 3] }, /mrope_section/],
    ['parameters by type of layer', { full_attention: { rope_type: 'default' } }, /full_attention/],
    ['a scaling without its factor', { type: 'linear' }, /factor/],
  ])('refuse %s', (_what, scaling, message) => {
    expect(() => ropeFor({ rope_scaling: scaling })).toThrow(message);
    expect(() => plainTheta({ rope_scaling: scaling }, 1000)).toThrow(/rope_scaling|factor/);
  });
});
