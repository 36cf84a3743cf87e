// Reading the environment: one treatment of empty values, booleans, numbers and faults for every process.
import * as z from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Its message has a line for each fault, which starts with the variable's name. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const PREFIX = 'KUBEMBED_';
/** Kubernetes gives pods variables for each Service of the namespace; ours may be called kubembed. */
const SERVICE_LINK = /_(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)$/;

/** As huggingface_hub reads booleans, and their opposites. */
export const flag = z.stringbool({ truthy: ['1', 'true', 'yes', 'on'], falsy: ['0', 'false', 'no', 'off'] });
export const whole = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) =>
  z.coerce.number().int().min(minimum).max(maximum);
export const port = whole(0, 65_535);
/** Seconds as milliseconds. */
export const seconds = (minimum: number, maximum: number = 2 ** 31) =>
  z.coerce
    .number()
    .min(minimum)
    .max(maximum)
    .transform((value) => value * 1000);

/**
 * What the schema makes of the variables it names; empty values count as unset, for that is how a pod template leaves
 * one out. An unknown `KUBEMBED_*` variable is a fault. Throws `ConfigError`.
 */
export function readEnvironment<S extends z.ZodObject>(schema: S, env: Environment): z.infer<S> {
  const known = Object.keys(schema.shape);
  const given = known
    .map((name) => [name, env[name]] as const)
    .filter(([, value]) => value !== undefined && value !== '' && !value.startsWith('tcp://'));
  const unknown = Object.keys(env).filter(
    (name) => name.startsWith(PREFIX) && !known.includes(name) && !SERVICE_LINK.test(name),
  );
  const result = schema.safeParse(Object.fromEntries(given));
  const faults = [
    ...unknown.map((name) => `${name}: unknown variable`),
    ...(result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`),
  ];
  if (!result.success || faults.length > 0) throw new ConfigError(faults.join('\n'));
  return result.data;
}
