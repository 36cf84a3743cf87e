import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { mkdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { explainStart } from './explain.ts';
import { checkListener } from './listener.ts';

const place = { host: '127.0.0.1', port: 11_445, dataDir: '/data' };
const fault = (code: string, syscall: string): Error => Object.assign(new Error(code), { code, syscall });

describe('why local mode could not start', () => {
  it.each([
    ['EADDRINUSE', 'listen', 'Port 11445 of 127.0.0.1 is taken'],
    ['EACCES', 'listen', '--port'],
    ['EADDRNOTAVAIL', 'listen', '--host'],
    ['ENOTFOUND', 'getaddrinfo', 'no host "127.0.0.1"'],
    ['EACCES', 'mkdir', '/data cannot be written'],
    ['EROFS', 'mkdir', '--data'],
  ])('%s of %s in words', (code, call, words) => {
    expect(explainStart(fault(code, call), place)).toContain(words);
  });

  it('leaves other errors to the log', () => {
    expect(explainStart(new Error('EADDRINUSE'), place)).toBeUndefined();
    expect(explainStart(fault('EMFILE', 'open'), place)).toBeUndefined();
  });

  it('knows what the machine really says', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as AddressInfo;
    const told = async (work: Promise<unknown>): Promise<string | undefined> =>
      explainStart(await work.catch((error: unknown) => error), place);
    expect(await told(checkListener('127.0.0.1', port))).toContain('is taken');
    expect(await told(checkListener('192.0.2.1', 0))).toContain('no address of this machine');
    expect(await told(mkdir(import.meta.filename, { recursive: true }))).toContain('/data is a file');
    expect(await told(mkdir('/dev/null/data', { recursive: true }))).toContain('--data');
    await new Promise((resolve) => taken.close(resolve));
    await expect(checkListener('127.0.0.1', port)).resolves.toBeUndefined();
  });
});
