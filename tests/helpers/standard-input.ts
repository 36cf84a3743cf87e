// Input for a child process. One that does not read it may have ended by then: its exit code says how it went, not a pipe without a reader.
import type { ChildProcess } from 'node:child_process';

export const giveInput = ({ stdin }: Pick<ChildProcess, 'stdin'>, input?: string): void =>
  void stdin?.on('error', () => undefined).end(input);
