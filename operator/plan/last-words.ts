// Termination messages of the runtime: what a fetch found out, or why a command failed. Anything else is not for us.
import { isReason } from '../../api/conditions.ts';
import type { Reason } from '../../api/conditions.ts';
import type { FetchedFacts } from '../desired/children.ts';

export interface Failure {
  readonly reason: Reason;
  readonly message: string;
}

function parseObject(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/** With logs as fallback the message may have lines before the JSON: it is the last one that counts. */
const lastLine = (text: string | undefined): string | undefined => text?.trimEnd().split('\n').at(-1);

export function parseFetched(message: string | undefined): FetchedFacts | undefined {
  const words = parseObject(lastLine(message));
  if (words === undefined) return undefined;
  const { revision, dimensions, maxTokens, pooling, architecture } = words;
  if (typeof revision !== 'string' || typeof dimensions !== 'number' || typeof maxTokens !== 'number') return undefined;
  return {
    revision,
    dimensions,
    maxTokens,
    ...(typeof pooling === 'string' && { pooling }),
    ...(typeof architecture === 'string' && { architecture }),
  };
}

export function parseFailure(message: string | undefined): Failure | undefined {
  const words = parseObject(lastLine(message));
  if (typeof words?.['reason'] !== 'string' || !isReason(words['reason'])) return undefined;
  const text = words['message'];
  return { reason: words['reason'], message: typeof text === 'string' ? text : words['reason'] };
}

const TAIL = 500;

/** The end of a message that is no JSON, short enough for a condition. */
export const tail = (message: string | undefined): string => (message ?? '').trim().slice(-TAIL);
