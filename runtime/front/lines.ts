// Log lines of a thread on their way to the one that writes: gathered, so that a line does not cost a message.
import type { DestinationStream } from 'pino';

export interface Lines extends DestinationStream {
  readonly flush: () => void;
}

const GATHERED_CHARACTERS = 16_384;
const GATHERED_MS = 10;
/** As pino prints it. Who acts on such a line must not wait for others. */
const URGENT = /^\{"level":"(?:warn|error|fatal)"/;

export function createLines(send: (lines: string, isUrgent: boolean) => void): Lines {
  let gathered = '';
  let timer: NodeJS.Timeout | undefined;
  function flush(isUrgent = false): void {
    clearTimeout(timer);
    timer = undefined;
    if (gathered === '') return;
    send(gathered, isUrgent);
    gathered = '';
  }
  return {
    write(line) {
      gathered += line;
      if (URGENT.test(line)) flush(true);
      else if (gathered.length >= GATHERED_CHARACTERS) flush();
      else timer ??= setTimeout(flush, GATHERED_MS).unref();
    },
    flush: () => flush(),
  };
}
