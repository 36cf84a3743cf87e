import { expect, it } from 'vitest';
import { gpuModel } from './models.ts';
import { gpuPeers, vllmArguments } from './peers.ts';

const names = (name: 'bge-m3' | 'gemma', standIn = false) =>
  gpuPeers({ device: 'gpu', model: gpuModel(name, standIn), vllm: '/nowhere/vllm' }).map((peer) => peer.name);

it('vLLM serves the repository as a pooling model, in the same precision, beside others, and without what it has kept of texts', () => {
  const given = { snapshotDir: '/store/snapshot', modelId: 'made/bge-m3', port: 4711, maxTokens: 8192 } as const;
  const [command, folder, ...options] = vllmArguments({ ...given, precision: 'float16' });
  expect([command, folder]).toEqual(['serve', '/store/snapshot']);
  expect(options.join(' ')).toBe(
    '--runner pooling --served-model-name made/bge-m3 --host 127.0.0.1 --port 4711 --uvicorn-log-level warning ' +
      '--dtype float16 --max-model-len 8192 --gpu-memory-utilization 0.3 --no-enable-prefix-caching',
  );
});

it('everybody computes in the first precision, and kubembed in each', () => {
  expect(names('bge-m3')).toEqual(['kubembed-float16', 'kubembed-float32', 'st', 'st-256', 'vllm']);
  expect(names('gemma')).toEqual(['kubembed-float32', 'st', 'st-256', 'vllm']);
});

it('names who is not installed, with how to change that', () => {
  const peers = gpuPeers({ device: 'gpu', model: gpuModel('gemma', false), vllm: '/nowhere/vllm' });
  const reasons = Object.fromEntries(peers.map((peer) => [peer.name, peer.missing('/nowhere/python')]));
  expect(reasons['kubembed-float32']).toBeUndefined();
  expect(reasons['st']).toContain('npm run bench -- setup');
  expect(reasons['vllm']).toContain('npm run bench -- setup vllm');
  expect(peers[1]?.missing('/bin/false')).toBe('/bin/false has no sentence-transformers');
});
