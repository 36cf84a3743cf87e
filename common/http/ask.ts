// One GET on a connection of its own, with bounds on time and size: how replicas that are starting are asked how they are.

// Not imported: see ./server.ts.
const { get } = process.getBuiltinModule('node:http');

export interface AskOptions {
  /** For all of it. Where packets are dropped a connection is given up with it, so that the next question does not wait for it. */
  readonly timeoutMs: number;
  /** Of the answer's body. */
  readonly maxBytes: number;
}

export interface Told {
  readonly status: number;
  readonly text: string;
}

/** Undefined without a whole answer within the bounds. */
export const askOnce = async (url: string, { timeoutMs, maxBytes }: AskOptions): Promise<Told | undefined> =>
  await new Promise((resolve) => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.byteLength;
        if (bytes > maxBytes) request.destroy();
      });
      response.on('end', () => {
        const told = { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
        resolve(bytes > maxBytes ? undefined : told);
      });
      response.on('error', () => resolve(undefined));
    });
    request.on('error', () => resolve(undefined));
    // However it ends; after an answer this resolves nothing any more.
    request.on('close', () => resolve(undefined));
  });
