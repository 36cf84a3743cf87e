// A load that costs next to nothing: connections that each keep some requests under way, made beforehand and answered by counting.
import { connect } from 'node:net';

export interface FrontLoad {
  readonly port: number;
  readonly connections: number;
  /** Requests under way on each. */
  readonly depth: number;
  readonly body: Buffer;
}

export interface RunningLoad {
  /** Since the start. */
  answered(): number;
  readonly failed: Promise<never>;
  stop(): void;
}

/** Begins every answer. */
const MARK = Buffer.from('HTTP/1.1 ');
const STATUS_LENGTH = 3;

export function startLoad({ port, connections, depth, body }: FrontLoad): RunningLoad {
  const head = `POST /v1/embeddings HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.byteLength}\r\n\r\n`;
  const one = Buffer.concat([Buffer.from(head), body]);
  const many = Array.from({ length: depth + 1 }, (_, count) => Buffer.concat(Array<Buffer>(count).fill(one)));
  let answered = 0;
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => undefined);
  const sockets = Array.from({ length: connections }, () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(many[depth]!));
    socket.on('error', reject);
    let rest: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      const seen = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
      let begun = 0;
      for (let at = seen.indexOf(MARK); at !== -1; at = seen.indexOf(MARK, at + 1)) {
        const status = seen.toString('latin1', at + MARK.byteLength, at + MARK.byteLength + STATUS_LENGTH);
        if (status.length < STATUS_LENGTH) break;
        if (status !== '200') reject(new Error(`answered ${seen.toString('latin1', at, at + 400)}`));
        begun++;
      }
      // Too short for a whole beginning, so that none counts twice.
      rest = seen.subarray(-(MARK.byteLength + STATUS_LENGTH - 1));
      answered += begun;
      if (begun > 0) socket.write(many[Math.min(begun, depth)]!);
    });
    return socket;
  });
  return { answered: () => answered, failed, stop: () => sockets.forEach((socket) => socket.destroy()) };
}
