// API keys as an operator of the service writes them down: hashes, never keys; what each may use, and how much. Pure.
import { parse } from 'yaml';
import { z } from 'zod';

const limit = z.number().positive().optional();

const file = z.strictObject({
  keys: z.array(
    z.strictObject({
      /** Shown in logs; says nothing of the key. */
      name: z.string().min(1),
      /** Of the key, in hexadecimal: `printf %s "$KEY" | sha256sum`. */
      sha256: z.string().regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits'),
      /** Served names; all of them when absent. */
      models: z.array(z.string()).optional(),
      requestsPerMinute: limit,
      tokensPerMinute: limit,
    }),
  ),
});

export interface ApiKey {
  readonly name: string;
  readonly models?: ReadonlySet<string>;
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
}

/** By lower-case hash. Throws when the text is not a list of keys; the message names the fault and no hash. */
export const parseKeys = (text: string): ReadonlyMap<string, ApiKey> => {
  const result = file.safeParse(parse(text));
  if (!result.success) {
    throw new Error(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
  }
  return new Map(
    result.data.keys.map(({ name, sha256, models, requestsPerMinute, tokensPerMinute }) => [
      sha256.toLowerCase(),
      {
        name,
        ...(models && { models: new Set(models) }),
        ...(requestsPerMinute !== undefined && { requestsPerMinute }),
        ...(tokensPerMinute !== undefined && { tokensPerMinute }),
      },
    ]),
  );
};

export const mayUse = (key: ApiKey, names: readonly string[]): boolean =>
  key.models === undefined || names.some((name) => key.models?.has(name));
