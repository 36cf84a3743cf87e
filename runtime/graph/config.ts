// Typed reading of config.json: every value a builder uses is checked here.
import { ModelError } from '../../hub/errors.ts';

export type Config = Readonly<Record<string, unknown>>;

/** The model is sound, but kubembed does not compute it. */
export const unsupported = (message: string): ModelError => new ModelError('UnsupportedArchitecture', message);

const wrong = (name: string, value: unknown, wanted: string): ModelError =>
  unsupported(`config.json: ${name} is ${JSON.stringify(value)}; ${wanted} is needed.`);

/** The first of `names` that is set, as a number; `fallback` when none is. */
export function numberOf(config: Config, names: readonly string[], fallback?: number): number {
  const name = names.find((candidate) => config[candidate] !== undefined && config[candidate] !== null);
  const value = name === undefined ? fallback : config[name];
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(name ?? names.join(' or '), value, 'a number');
  return value;
}

export function integerOf(config: Config, names: readonly string[], fallback?: number): number {
  const value = numberOf(config, names, fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw wrong(names.join(' or '), value, 'a whole number');
  return value;
}

export function stringOf(config: Config, name: string, fallback: string): string {
  const value = config[name] ?? fallback;
  if (typeof value !== 'string') throw wrong(name, value, 'a string');
  return value;
}

/** Refuses a setting that the builder does not compute, rather than to give wrong vectors. */
export function requireSetting(config: Config, name: string, allowed: readonly unknown[]): void {
  const value = config[name];
  if (value === undefined || value === null || allowed.includes(value)) return;
  throw unsupported(
    `config.json: ${name} ${JSON.stringify(value)} is not supported; supported: ${allowed.map((one) => JSON.stringify(one)).join(', ')}.`,
  );
}

/** Hidden size over heads; refuses what does not divide. */
export function headSizeOf(hiddenSize: number, heads: number): number {
  if (heads <= 0 || hiddenSize % heads !== 0) throw wrong('num_attention_heads', heads, `a divisor of ${hiddenSize}`);
  return hiddenSize / heads;
}
