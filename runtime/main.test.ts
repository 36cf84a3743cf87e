import { expect, it } from 'vitest';
import { gpuEnvironment } from './main.ts';

it('tokenises on all cores, on four at least', () => {
  expect(gpuEnvironment(16)).toMatchObject({ UV_THREADPOOL_SIZE: '16' });
  expect(gpuEnvironment(1)).toMatchObject({ UV_THREADPOOL_SIZE: '4' });
});

it('keeps attention from being compiled for each shape, and float32 from being rounded', () => {
  expect(gpuEnvironment(1)).toMatchObject({ ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0', NVIDIA_TF32_OVERRIDE: '0' });
});
