// What the GPU bench knows by name: models, others beside kubembed, precisions.

export const MODEL_NAMES = ['minilm', 'bge-m3', 'qwen3', 'gemma'] as const;
export type GpuModelName = (typeof MODEL_NAMES)[number];

export type Precision = 'float32' | 'float16';

export const PEER_NAMES = ['st', 'vllm'] as const;
