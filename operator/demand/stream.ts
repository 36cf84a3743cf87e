// One router's demand stream: kept open, read line by line, opened again with back-off when it ends.
import { Client } from 'undici';
import type { DemandSnapshot } from '../../api/demand.ts';
import { sleep } from '../../kube/clock.ts';
import type { Environment } from '../../kube/clock.ts';
import { DEMAND_PATH, parseDemandLine } from '../../api/demand.ts';

export interface StreamOptions {
  /** `http://host:port`. */
  readonly origin: string;
  /** Silence for longer means that the connection is dead, whatever TCP thinks. */
  readonly silenceMs: number;
  readonly heard: (snapshot: DemandSnapshot) => void;
}

const CONNECT_MS = 1_000;
const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 5_000;
/** A line holds every model; a thousand of them make a quarter of this. */
const MAX_LINE = 1 << 20;

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = pieces.pop() ?? '';
    yield* pieces;
    if (rest.length > MAX_LINE) throw new Error('A line of the demand stream is too long');
  }
}

/** Ends when the signal aborts. */
export async function followStream(options: StreamOptions, environment: Environment, stop: AbortSignal): Promise<void> {
  const { origin, silenceMs, heard } = options;
  const { clock, random, log } = environment;
  let failures = 0;

  async function follow(client: Client): Promise<void> {
    const { statusCode, body } = await client.request({ method: 'GET', path: DEMAND_PATH, signal: stop });
    if (statusCode !== 200) throw new Error(`The router answered ${statusCode}`);
    for await (const line of linesOf(body as AsyncIterable<Buffer>)) {
      const snapshot = parseDemandLine(line);
      if (snapshot === undefined) continue;
      failures = 0;
      heard(snapshot);
    }
  }

  const stopped = (): boolean => stop.aborted;
  while (!stopped()) {
    const client = new Client(origin, {
      connect: { timeout: CONNECT_MS },
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
    });
    try {
      await follow(client);
    } catch (error) {
      if (!stopped()) log.debug({ router: origin, error }, 'Demand stream broke');
    } finally {
      await client.destroy();
    }
    if (stopped()) return;
    const delay = Math.min(FIRST_RETRY_MS * 2 ** failures, LAST_RETRY_MS);
    failures = Math.min(failures + 1, 10);
    await sleep(clock, delay * (0.5 + random() / 2), stop);
  }
}
