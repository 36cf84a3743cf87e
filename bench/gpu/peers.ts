// Who is measured on a GPU: kubembed in both precisions, sentence-transformers and vLLM's pooling server, all on the same repository.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pythonVersions, ROOT } from '../machine.ts';
import { library, server } from '../runtime/peer.ts';
import type { ServerKind } from '../runtime/peer.ts';
import {
  available,
  everything,
  missingPython,
  OFFLINE,
  oneClient,
  PEERS_FOLDER,
  run,
  runtime,
} from '../runtime/peers.ts';
import type { Peer, RuntimeChoices } from '../runtime/peers.ts';
import type { GpuModel } from './models.ts';
import type { Precision } from './names.ts';

// vLLM's own environment: it pins other packages than the other peers.

const VLLM_VENV = join(ROOT, '.venv-vllm');
export const VLLM = join(VLLM_VENV, 'bin', 'vllm');
const VLLM_HINT = 'npm run bench -- setup vllm';

/** Many gigabytes, with the CUDA libraries. */
export function setUpVllm(): void {
  if (!existsSync(VLLM_VENV)) run('python3', ['-m', 'venv', VLLM_VENV], ROOT);
  const requirements = join(PEERS_FOLDER, 'vllm-requirements.txt');
  run(join(VLLM_VENV, 'bin', 'python'), ['-m', 'pip', 'install', '--requirement', requirements], ROOT);
}

/** Left to itself it takes nearly the whole card, and would not start beside the others. */
const VLLM_MEMORY_SHARE = '0.3';

export interface VllmChoices {
  readonly snapshotDir: string;
  readonly modelId: string;
  readonly port: number;
  readonly maxTokens: number;
  readonly precision: Precision;
}

/** Pooling comes from the repository, as with the others. */
export const vllmArguments = ({ snapshotDir, modelId, port, maxTokens, precision }: VllmChoices): readonly string[] => [
  ...['serve', snapshotDir, '--runner', 'pooling', '--served-model-name', modelId],
  ...['--host', '127.0.0.1', '--port', String(port), '--uvicorn-log-level', 'warning'],
  ...['--dtype', precision, '--max-model-len', String(maxTokens)],
  ...['--gpu-memory-utilization', VLLM_MEMORY_SHARE],
  // The texts come again in every round: what it had kept of them would be measured instead of the model.
  '--no-enable-prefix-caching',
];

const vllmServer = (file: string, choices: Pick<VllmChoices, 'maxTokens' | 'precision'>): ServerKind => ({
  command: ({ snapshotDir, modelId }, port) => ({
    file,
    args: vllmArguments({ snapshotDir, modelId, port, ...choices }),
    env: { ...OFFLINE, VLLM_NO_USAGE_STATS: '1' },
  }),
});

const missingVllm = (file: string): string | undefined => (existsSync(file) ? undefined : `no vLLM (${VLLM_HINT})`);

const SENTENCE_TRANSFORMERS = ['torch', 'transformers', 'sentence-transformers'] as const;

export const missingSentenceTransformers = (python: string): string | undefined =>
  missingPython(python) ??
  (pythonVersions(python, SENTENCE_TRANSFORMERS) === undefined ? `${python} has no sentence-transformers` : undefined);

/** Of those that are installed. */
export const peerVersions = (python: string, vllm: string): string[] => [
  ...(pythonVersions(python, SENTENCE_TRANSFORMERS) ?? []),
  ...(pythonVersions(join(dirname(vllm), 'python'), ['vllm']) ?? []),
];

export interface GpuPeerChoices {
  readonly device: RuntimeChoices['device'];
  readonly model: Pick<GpuModel, 'maxTokens' | 'precisions'>;
  /** The executable. */
  readonly vllm: string;
}

/** That of kubembed, by precision, in the tables and the verdicts. */
export const ownName = (precision: Precision): string => `kubembed-${precision}`;

export const kubembed = (
  device: RuntimeChoices['device'],
  precision: Precision,
  env: RuntimeChoices['env'] = {},
): Peer => ({
  ...{ name: ownName(precision), title: `kubembed, ${precision}`, missing: available, takes: everything },
  start: server(runtime({ device, precision, pooling: 'declared', env })),
});

export function gpuPeers({ device, model: { maxTokens, precisions }, vllm }: GpuPeerChoices): readonly Peer[] {
  const [precision = 'float32'] = precisions;
  const torch = { device: device === 'gpu' ? 'cuda' : 'cpu', precision } as const;
  const inALoop = { missing: missingSentenceTransformers, takes: oneClient };
  return [
    ...precisions.map((one) => kubembed(device, one)),
    { ...inALoop, name: 'st', title: `sentence-transformers, ${precision}`, start: library(torch) },
    { ...inALoop, name: 'st-256', title: 'the same, batches of 256', start: library({ ...torch, batchSize: 256 }) },
    {
      ...{ name: 'vllm', title: `vLLM, ${precision}`, missing: () => missingVllm(vllm), takes: everything },
      start: server(vllmServer(vllm, { maxTokens, precision })),
    },
  ];
}
