// What a terminal shows of a bulk job while it runs: one line, drawn anew a few times a second.
import { clearInterval, setInterval } from 'node:timers';
import { sayCommand } from '../command.ts';
import type { CliIo } from '../command.ts';
import { CLEAR_LINE } from '../terminal.ts';
import type { Finished } from './journal.ts';
import { addSample, beginProgress, printCount, printProgress } from './progress.ts';
import type { Progress } from './progress.ts';
import type { Row } from './rows.ts';

export interface Display {
  readonly onRead: (row: Row) => void;
  readonly onShare: (share: number) => void;
  readonly onFinished: (finished: Finished) => void;
  readonly onWaiting: (message: string | undefined) => void;
  readonly end: () => void;
}

const DRAW_MS = 200;
const QUIET_MS = 2000;

export function startDisplay(io: CliIo, { resumed, isDrawn }: { resumed: number; isDrawn: boolean }): Display {
  const startedMs = io.now();
  let progress: Progress = beginProgress(startedMs, resumed);
  let [rows, tokens, rowsRead, shareRead] = [0, 0, 0, 0];
  let waiting: string | undefined;
  const line = (): string => {
    const seconds = Math.round((io.now() - startedMs) / 1000);
    if (waiting !== undefined)
      return `${printCount(resumed + rows)} rows · waiting: ${sayCommand(waiting, io.program).split('\n', 1)[0] ?? ''}`;
    return rows === 0 ? `waiting for the model, ${seconds} s` : printProgress(progress, { rowsRead, shareRead });
  };
  const draw = (): void => {
    if (io.now() - startedMs < QUIET_MS) return;
    const columns = io.output.isTerminal ? io.output.columns() : 100;
    io.writeError(`${CLEAR_LINE}${line().slice(0, columns - 1)}`);
  };
  const drawing = isDrawn ? setInterval(draw, DRAW_MS) : undefined;
  return {
    onRead: ({ number }) => (rowsRead = number + 1),
    onShare: (share) => (shareRead = share),
    onWaiting: (message) => (waiting = message),
    onFinished(finished) {
      // The clock of the rate begins with the first answer: a model that had to be woken is not slow.
      if (rows === 0) progress = beginProgress(io.now(), resumed);
      rows += finished.rows.length;
      tokens += finished.tokens;
      progress = addSample(progress, { atMs: io.now(), rows, tokens });
    },
    end() {
      clearInterval(drawing);
      if (isDrawn) io.writeError(CLEAR_LINE);
    },
  };
}
