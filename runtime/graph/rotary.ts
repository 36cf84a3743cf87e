// Rotary frequencies from config.json, in its old and new spellings.
import { numberOf, requireSetting } from './config.ts';
import type { Config } from './config.ts';
import { UnsupportedArchitecture } from './errors.ts';

const isRecord = (value: unknown): value is Config => typeof value === 'object' && value !== null;

/** theta^(−2i/d). */
export const frequenciesOf = (theta: number, headSize: number): readonly number[] =>
  Array.from({ length: headSize / 2 }, (_, i) => 1 / theta ** ((2 * i) / headSize));

/** The base of plain rotary embeddings; scaled ones are refused, because each scaling is its own formula. */
export function plainTheta(config: Config, fallback: number): number {
  const parameters = config['rope_parameters'];
  if (isRecord(parameters)) {
    requireSetting(parameters, 'rope_type', ['default']);
    requireSetting(parameters, 'partial_rotary_factor', [1]);
    return numberOf(parameters, ['rope_theta'], fallback);
  }
  requireSetting(config, 'rope_scaling', []);
  return numberOf(config, ['rope_theta'], fallback);
}

/** Plain, or the fixed NTK scaling of Alibaba's models: base × factor, and every frequency ÷ factor^(2/d). */
export function plainOrNtkFrequencies(config: Config, fallback: number, headSize: number): readonly number[] {
  const scaling = config['rope_scaling'];
  if (!isRecord(scaling)) return frequenciesOf(plainTheta(config, fallback), headSize);
  const type = scaling['type'] ?? scaling['rope_type'];
  if (type !== 'ntk' || (scaling['mixed_b'] ?? null) !== null) {
    throw new UnsupportedArchitecture(`config.json: rope_scaling ${JSON.stringify(scaling)} is not supported.`);
  }
  const factor = numberOf(scaling, ['factor']);
  const theta = numberOf(config, ['rope_theta'], fallback);
  return frequenciesOf(theta * factor, headSize).map((frequency) => frequency / factor ** (2 / headSize));
}
