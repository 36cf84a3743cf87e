// One file from the hub: ranges side by side over several connections, each going on where it stopped, the whole proven at the end.
import type { Readable } from 'node:stream';
import pLimit from 'p-limit';
import type { LimitFunction } from 'p-limit';
import { together } from '../common/util/together.ts';
import { TransientError, describeFailure, discardBody, refuseTransient } from './client.ts';
import type { HubResponse } from './client.ts';
import { ModelError } from './files.ts';
import type { RepositoryFile } from './files.ts';
import { filePath, persistently, refusal } from './listing.ts';
import type { HubRepository } from './listing.ts';
import { PartialFile, divide, isWhole, removePartial, undivided } from './partial.ts';
import type { PartialPaths, Range } from './partial.ts';

export interface Download {
  readonly repository: HubRepository;
  readonly file: RepositoryFile;
  readonly partial: PartialPaths;
  /** Told how many bytes of the file are on disk; may go back to 0. */
  readonly onBytes: (bytes: number) => void;
}

/** The bytes on disk cannot be a part of the file, or what the server sends cannot. */
class Mismatch extends Error {}

/** The server answers a question for a range with the whole file. */
class RangesIgnored extends Error {}

// One range.

const rangeHeader = ({ start, end, have }: Range, size: number): string | undefined => {
  const last = end === size ? '' : String(end - 1);
  return start + have === 0 && end === size ? undefined : `bytes=${start + have}-${last}`;
};

const announcedSize = ({ headers }: HubResponse): number | undefined => {
  const announced = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? headers['content-length'];
  return announced === undefined ? undefined : Number(announced);
};

/** The body must begin at the offset asked for, in a file of the size listed. */
const checkStart = (response: HubResponse, { start, have }: Range, file: RepositoryFile): void => {
  const { 'content-range': sent = '?' } = response.headers;
  if (response.status === 206 && !sent.startsWith(`bytes ${start + have}-`)) {
    throw new Mismatch(`asked for bytes from ${start + have}, was sent ${sent}`);
  }
  const announced = announcedSize(response);
  if (announced === undefined || announced === file.size) return;
  throw new Mismatch(`it has ${file.size} bytes by the listing, the server announces ${announced}`);
};

const requestRange = async (range: Range, { repository, file }: Download): Promise<HubResponse> => {
  const header = rangeHeader(range, file.size);
  const response = await repository.hub.send(filePath(repository, file.name), {
    signal: repository.retry.signal,
    headers: header === undefined ? undefined : { range: header },
  });
  refuseTransient(response, Date.now());
  try {
    if (response.status === 416) throw new Mismatch(`the server has no bytes from ${range.start + range.have} on`);
    if (response.status === 200 && header !== undefined) throw new RangesIgnored('the server sends whole files only');
    if (response.status !== 200 && response.status !== 206) throw refusal(response, repository);
    checkStart(response, range, file);
    return response;
  } catch (error) {
    discardBody(response);
    throw error;
  }
};

const isSystemError = (error: unknown): boolean => typeof (error as { syscall?: unknown }).syscall === 'string';
const DISK_CODES = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EFBIG', 'ESTALE']);

/** Chunks are of 16 or 64 kB, and to write one of them costs as much as to receive it. */
const GATHERED_BYTES = 512 << 10;
/** What waits for more is not told of, and a killed process loses it: not for long. */
const GATHERED_MS = 50;

/** Writes chunks of one range together. A failure is told by the next call. */
const gatherWrites = (partial: PartialFile, { at }: Range, onBytes: Download['onBytes']) => {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing = Promise.resolve();
  const flush = async (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    const together = chunks;
    [chunks, bytes] = [[], 0];
    if (together.length > 0) {
      writing = writing.then(async () => {
        await partial.append(at, together);
        onBytes(partial.bytes);
      });
    }
    await writing;
  };
  return {
    add: async (chunk: Buffer): Promise<void> => {
      chunks.push(chunk);
      bytes += chunk.length;
      timer ??= setTimeout(() => void flush().catch(() => undefined), GATHERED_MS);
      if (bytes >= GATHERED_BYTES) await flush();
    },
    flush,
  };
};

/** A connection that gives less is as good as one that gives nothing: another goes on where it stopped, and may be faster. */
const LEAST_BYTES_PER_SECOND = 1024;

/** Ends a body of which too little comes for as long as one may give nothing at all. Time that writing takes does not count. */
const watchRate = (body: Readable, stallMs: number) => {
  const least = (LEAST_BYTES_PER_SECOND * stallMs) / 1000;
  let bytes = 0;
  let isWriting = false;
  const timer = setInterval(() => {
    if (bytes < least && !isWriting) body.destroy(new Error(`${bytes} bytes came in ${stallMs / 1000} s`));
    bytes = 0;
  }, stallMs);
  return {
    came: (length: number): void => {
      bytes += length;
      isWriting = true;
    },
    written: () => void (isWriting = false),
    stop: () => clearInterval(timer),
  };
};

const write = async (body: Readable, partial: PartialFile, range: Range, { repository, onBytes }: Download) => {
  const writes = gatherWrites(partial, range, onBytes);
  const rate = watchRate(body, repository.retry.timeouts.stallMs);
  let end = range.start + range.have;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      rate.came(chunk.length);
      end += chunk.length;
      if (end > range.end) throw new Mismatch('more bytes came than were asked for');
      await writes.add(chunk);
      rate.written();
    }
  } finally {
    rate.stop();
    // What came before a cut is kept.
    await writes.flush();
  }
};

const bringRest = async (partial: PartialFile, range: Range, download: Download): Promise<void> => {
  const { signal } = download.repository.retry;
  const response = await requestRange(range, download);
  try {
    await write(response.body, partial, range, download);
  } catch (error) {
    signal.throwIfAborted();
    const { code, words } = describeFailure(error);
    if (error instanceof Mismatch || (isSystemError(error) && DISK_CODES.has(code))) throw error;
    throw new TransientError(`cut after ${partial.bytes} bytes: ${words}`, { cause: error });
  }
  if (!isWhole(range)) throw new TransientError(`ended after ${partial.bytes} bytes`);
};

/** Of one fetch, over all its files. */
interface Connections {
  readonly limit: LimitFunction;
  /** Bytes that came over any of them. */
  readonly arrived: () => number;
  readonly count: (bytes: number) => void;
}

/** To the hub and its CDN. */
const MOST_CONNECTIONS = 8;

const openConnections = (): Connections => {
  let arrived = 0;
  return {
    limit: pLimit(MOST_CONNECTIONS),
    arrived: () => arrived,
    // What is thrown away and comes again has come twice.
    count: (bytes) => void (arrived += Math.max(0, bytes)),
  };
};

/** Whether there was any growth since it was last asked. */
const growthOf = (count: () => number) => {
  let best = count();
  return (): boolean => {
    const now = count();
    const grown = now > best;
    best = Math.max(best, now);
    return grown;
  };
};

const bringRange = async (
  partial: PartialFile,
  range: Range,
  download: Download,
  { arrived }: Connections,
): Promise<void> => {
  const { repository, file } = download;
  repository.retry.signal.throwIfAborted();
  if (isWhole(range)) return;
  const gains = { own: growthOf(() => range.have), beside: growthOf(arrived) };
  await persistently(repository, file.name, async () => await bringRest(partial, range, download), gains);
};

// One file.

/** All its ranges and its hash. */
const bringFile = async (download: Download, layout: readonly Range[], connections: Connections): Promise<void> => {
  const { repository, file, partial: paths, onBytes } = download;
  await using partial = await PartialFile.open(paths, layout, file.size);
  onBytes(partial.bytes);
  const [hash] = await together<unknown>(repository.retry.signal, (signal) => {
    const stoppable = { ...download, repository: { ...repository, retry: { ...repository.retry, signal } } };
    const ranges = partial.ranges.map((range) =>
      connections.limit(() => bringRange(partial, range, stoppable, connections)),
    );
    return [partial.hash(file, signal), ...ranges];
  });
  await partial.sync();
  if (hash !== file.etag) throw new Mismatch('the hash of what came is not the one listed');
};

const bring = async (download: Download, connections: Connections): Promise<void> => {
  const { repository, file, partial } = download;
  let layout = divide(file.size);
  let bytes = 0;
  let mismatches = 0;
  const onBytes = (now: number): void => {
    connections.count(now - bytes);
    bytes = now;
    download.onBytes(now);
  };
  const once = async (): Promise<void> => {
    try {
      await bringFile({ ...download, onBytes }, layout, connections);
    } catch (error) {
      if (!(error instanceof Mismatch || error instanceof RangesIgnored)) throw error;
      await removePartial(partial);
      if (error instanceof RangesIgnored) layout = undivided(file.size);
      else mismatches += 1;
      if (mismatches < 2) throw new TransientError(`${file.name}: ${error.message}`, { retryAfterMs: 0 });
      throw new ModelError(
        'CorruptWeights',
        `${repository.modelId}@${repository.revision}: ${file.name} is not what the hub lists: ${error.message}. Nothing of it was kept; check the mirror or proxy in between, then try again`,
      );
    }
  };
  await persistently(repository, file.name, once, { own: growthOf(() => bytes) });
};

/**
 * Brings files whole and proven to their partial paths, going on with what lies there; calls side by side share the connections.
 * Rejects with a ModelError.
 */
export const createDownloader = (): ((download: Download) => Promise<void>) => {
  const connections = openConnections();
  return async (download) => await bring(download, connections);
};
