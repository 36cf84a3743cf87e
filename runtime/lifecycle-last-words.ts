// The termination log: what the operator learns of a command, and why it failed.
import { writeFile } from 'node:fs/promises';

export interface Failure {
  readonly reason: string;
  readonly message: string;
}

/** Kubernetes reads no more than 4096 bytes. */
const MAX_MESSAGE = 2000;

/** Our errors carry a condition reason, as `reason` or as `code`; anything else is told as it is. */
export function failureOf(error: unknown, otherwise: string): Failure {
  const { reason, code, message } =
    error instanceof Error ? (error as Error & { reason?: unknown; code?: unknown }) : { message: String(error) };
  const named = [reason, code].find((name) => typeof name === 'string' && /^(?:[A-Z][a-z]+)+$/.test(name));
  return { reason: typeof named === 'string' ? named : otherwise, message: message.slice(0, MAX_MESSAGE) };
}

const KUBERNETES_FILE = '/dev/termination-log';

/** Best effort: outside of a container Kubernetes' file does not exist, and is not made. */
export async function writeLastWords(path: string, words: object): Promise<void> {
  await writeFile(path, JSON.stringify(words), { flag: path === KUBERNETES_FILE ? 'r+' : 'w' }).catch(() => undefined);
}
