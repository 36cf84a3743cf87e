// Downloads one file into a partial file that survives a crash, goes on where it stopped, and proves the result.
import type { Hash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { ModelError } from '../runtime/model/errors.ts';
import { asUnreachable, filePath, refusal } from './hub.ts';
import type { Asked, RemoteFile } from './hub.ts';
import { describeFailure, discardBody, refuseTransient } from './hub-http.ts';
import type { HubHttp, HubResponse } from './hub-http.ts';
import { TransientError, retrying } from './hub-retry.ts';
import type { RetryContext } from './hub-retry.ts';
import { feedFile, startHash } from './verify.ts';

export interface Download {
  readonly asked: Asked;
  readonly file: RemoteFile;
  readonly partial: string;
  /** Told how many bytes of the file are on disk; may go back to 0. */
  readonly onBytes: (bytes: number) => void;
}

/** The bytes on disk cannot be a part of the file, or what the server sends cannot. */
class Mismatch extends Error {}

interface Progress {
  readonly handle: FileHandle;
  hash: Hash;
  bytes: number;
}

const restart = async (progress: Progress, file: RemoteFile): Promise<void> => {
  await progress.handle.truncate(0);
  progress.hash = startHash(file);
  progress.bytes = 0;
};

const resume = async (handle: FileHandle, { file, partial }: Download): Promise<Progress> => {
  const progress: Progress = { handle, hash: startHash(file), bytes: (await handle.stat()).size };
  if (progress.bytes > file.size) await restart(progress, file);
  if (progress.bytes > 0) await feedFile(progress.hash, partial);
  return progress;
};

const announcedSize = (response: HubResponse, from: number): number | undefined => {
  const total = /\/(\d+)$/.exec(response.headers['content-range'] ?? '')?.[1];
  if (total !== undefined) return Number(total);
  const length = response.headers['content-length'];
  return length === undefined ? undefined : from + Number(length);
};

/** Where the body begins in the file: at the asked offset, or at 0 when the server ignored the range. */
const acceptStart = async (response: HubResponse, progress: Progress, file: RemoteFile): Promise<void> => {
  if (response.status === 200) {
    if (progress.bytes > 0) await restart(progress, file);
  } else if (!(response.headers['content-range'] ?? '').startsWith(`bytes ${progress.bytes}-`)) {
    discardBody(response);
    throw new Mismatch(`asked for bytes from ${progress.bytes}, was sent ${response.headers['content-range'] ?? '?'}`);
  }
  const announced = announcedSize(response, progress.bytes);
  if (announced === undefined || announced === file.size) return;
  discardBody(response);
  throw new Mismatch(`it has ${file.size} bytes by the listing, the server announces ${announced}`);
};

const pour = async (response: HubResponse, progress: Progress, download: Download): Promise<void> => {
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    if (progress.bytes + chunk.length > download.file.size) throw new Mismatch('more bytes came than it has');
    await progress.handle.write(chunk, 0, chunk.length, progress.bytes);
    progress.hash.update(chunk);
    progress.bytes += chunk.length;
    download.onBytes(progress.bytes);
  }
};

const isSystemError = (error: unknown): boolean => typeof (error as { syscall?: unknown }).syscall === 'string';
const DISK_CODES = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EFBIG', 'ESTALE']);

const receive = async (response: HubResponse, progress: Progress, download: Download, signal: AbortSignal) => {
  try {
    await pour(response, progress, download);
  } catch (error) {
    signal.throwIfAborted();
    const { code, words } = describeFailure(error);
    if (error instanceof Mismatch || (isSystemError(error) && DISK_CODES.has(code))) throw error;
    throw new TransientError(`cut after ${progress.bytes} bytes: ${words}`, { cause: error });
  }
  if (progress.bytes < download.file.size) throw new TransientError(`ended after ${progress.bytes} bytes`);
};

const request = async (hub: HubHttp, progress: Progress, download: Download, retry: RetryContext): Promise<void> => {
  const { asked, file } = download;
  const response = await hub.send(filePath(asked.modelId, asked.revision, file.name), {
    signal: retry.signal,
    headers: progress.bytes > 0 ? { range: `bytes=${progress.bytes}-` } : {},
  });
  if (response.status === 416) {
    discardBody(response);
    throw new Mismatch(`the server has no bytes from ${progress.bytes} on`);
  }
  refuseTransient(response, Date.now());
  if (response.status !== 200 && response.status !== 206) {
    discardBody(response);
    throw refusal(response, asked, hub);
  }
  await acceptStart(response, progress, file);
  await receive(response, progress, download, retry.signal);
};

const attempt = async (hub: HubHttp, download: Download, retry: RetryContext): Promise<void> => {
  const { file, partial } = download;
  await using handle = await open(partial, 'a+').then(async (created) => {
    await created.close();
    return await open(partial, 'r+');
  });
  const progress = await resume(handle, download);
  download.onBytes(progress.bytes);
  if (progress.bytes < file.size) await request(hub, progress, download, retry);
  // Without it a power cut after the rename could leave a whole name on a hollow file.
  await handle.sync();
  if (progress.hash.digest('hex') !== file.etag) throw new Mismatch('the hash of what came is not the one listed');
};

/** Leaves the whole, proven file at `partial`. */
export const downloadFile = async (hub: HubHttp, download: Download, retry: RetryContext): Promise<void> => {
  const { asked, file, partial } = download;
  let best = 0;
  let gained = false;
  let mismatches = 0;
  const onBytes = (bytes: number): void => {
    gained ||= bytes > best;
    best = Math.max(best, bytes);
    download.onBytes(bytes);
  };
  const once = async (): Promise<void> => {
    try {
      await attempt(hub, { ...download, onBytes }, retry);
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      await rm(partial, { force: true });
      mismatches += 1;
      if (mismatches < 2) throw new TransientError(`${file.name}: ${error.message}`, { retryAfterMs: 0 });
      throw new ModelError(
        'CorruptWeights',
        `${asked.modelId}@${asked.revision}: ${file.name} is not what the hub lists: ${error.message}. Nothing of it was kept; check the mirror or proxy in between, then try again`,
      );
    }
  };
  try {
    await retrying(retry, file.name, once, () => {
      const since = gained;
      gained = false;
      return since;
    });
  } catch (error) {
    throw asUnreachable(error, asked.modelId, hub);
  }
};
