// The GPU image's CUDA provider must be that of the ONNX Runtime beside which it is put: they share private interfaces.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const dockerfile = readFileSync(join(ROOT, 'Dockerfile.runtime-gpu'), 'utf8');

const argument = (name: string): string | undefined => new RegExp(`^ARG ${name}=(\\S+)$`, 'm').exec(dockerfile)?.[1];

it('takes the provider from the wheel of the version that npm installs', () => {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version: string }>>;
  };
  expect(argument('ONNXRUNTIME_VERSION')).toBe(lock.packages['node_modules/onnxruntime-node']?.version);
  expect(argument('ONNXRUNTIME_SHA256')).toMatch(/^[0-9a-f]{64}$/);
});

it('puts it where the binding looks for it', () => {
  const binding = join(ROOT, 'node_modules/onnxruntime-node/dist/binding.js');
  const [, napi] = /bin\/(napi-v\d+)/.exec(readFileSync(binding, 'utf8')) ?? [];
  expect(dockerfile).toContain(`node_modules/onnxruntime-node/bin/${napi}/linux/x64/`);
});
