import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../common/util/env.ts';
import { banner, explainStart, readLocalConfig, openDoor } from './config.ts';
import { checkListener } from './start.ts';

describe('readLocalConfig', () => {
  it('has defaults', () => {
    expect(readLocalConfig([], {})).toMatchObject({ port: 11_445, help: false });
  });

  it('prefers the command line, then EMBEDDINGS_PORT, then KUBEMBED_PORT', () => {
    const env = { EMBEDDINGS_PORT: '2', KUBEMBED_PORT: '3' };
    expect(readLocalConfig(['--port', '1'], env).port).toBe(1);
    expect(readLocalConfig([], env).port).toBe(2);
    expect(readLocalConfig([], { KUBEMBED_PORT: '3' }).port).toBe(3);
  });

  it.each([
    [['--port', 'x'], /--port.*"x"/],
    [['--port', '70000'], /--port/],
    [['--nope'], /--nope/],
  ])('refuses %j by name', (argv, message) => {
    expect(() => readLocalConfig(argv, {})).toThrow(ConfigError);
    expect(() => readLocalConfig(argv, {})).toThrow(message);
  });
});

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

describe('an open door', () => {
  it.each([
    ['0.0.0.0', true],
    ['::', true],
    ['192.168.1.7', true],
    ['127.0.0.1', false],
    ['::1', false],
    ['localhost', false],
  ])('is said in one line: %s %s', (host, isSaid) => {
    expect(openDoor(host)?.split('\n').length).toBe(isSaid ? 1 : undefined);
  });
});

describe('banner', () => {
  it('asks for the key in its request where keys are asked for', () => {
    expect(banner('http://127.0.0.1:1', ['org/first'], 'list.txt', true)).toContain('authorization: Bearer');
  });

  it('says where it is, what it serves, and a request that works', () => {
    const text = banner('http://127.0.0.1:1', ['org/first', 'org/second'], 'list.txt', false);
    expect(text).toContain('\nkubembed is ready at http://127.0.0.1:1/v1\n');
    expect(text).toContain('\n  status page  http://127.0.0.1:1/\n');
    expect(text).toContain('\n  org/first\n  org/second\n');
    expect(text).toContain('{"model":"org/first","input":"The quick');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(100);
  });

  it('says where models come from when there are none', () => {
    const text = banner('http://127.0.0.1:1', [], 'list.txt', true);
    expect(text).toContain('add Hugging Face ids to list.txt');
    expect(text).not.toContain('curl');
  });
});
