// Every setting of config.json that changes what a model computes is obeyed by its builder, or the model is refused by the setting's name. Pure.
import { isRecord } from '../../common/util/text.ts';
import { unsupported } from './description.ts';
import type { Config } from './description.ts';

/** A builder may leave the setting unread while this holds. */
type Neutral = (value: unknown, config: Config) => boolean;

const only =
  (...values: readonly unknown[]): Neutral =>
  (value) =>
    values.includes(value);
/** To be read, whatever it is. */
const never: Neutral = () => false;
const off = only(false, 0);
const isEmpty: Neutral = (value) => typeof value === 'object' && value !== null && Object.keys(value).length === 0;
const all =
  (one: unknown): Neutral =>
  (value) =>
    Array.isArray(value) && value.every((item) => item === one);
/** Head size: what the others give anyway. */
const follows: Neutral = (value, config) => {
  const hidden = config['hidden_size'] ?? config['n_embd'] ?? config['dim'];
  const heads = config['num_attention_heads'] ?? config['n_head'] ?? config['n_heads'];
  return typeof hidden === 'number' && typeof heads === 'number' && value === hidden / heads;
};
/** A window that another setting switches off. */
const unlessSliding: Neutral = (_value, config) => config['use_sliding_window'] === false;
const plainRope: Neutral = (value) =>
  isRecord(value) &&
  Object.keys(value).every((key) => key === 'rope_type' || key === 'type') &&
  Object.values(value).every((one) => one === 'default');

/**
 * The settings of transformers' configurations, and of the repositories whose own code a builder follows, that change vectors.
 * Unset and null are always neutral. What is not here describes training, heads behind the vectors, or nothing that a class reads.
 */
const CHANGING: Readonly<Record<string, Neutral>> = {
  // Which tokens see which.
  is_decoder: off,
  add_cross_attention: off,
  is_causal: off,
  causal: off,
  use_bidirectional_attention: off,
  is_bidirectional: off,
  bidirectional: off,
  sliding_window: unlessSliding,
  use_sliding_window: off,
  local_attention: never,
  attention_chunk_size: never,
  global_attn_every_n_layers: only(1),
  layer_types: all('full_attention'),
  sliding_window_pattern: only(1),
  attention_window: never,
  attention_types: never,
  // Positions.
  position_embedding_type: only('absolute'),
  position_biased_input: only(true),
  relative_attention: off,
  pos_att_type: only('none'),
  rope_scaling: plainRope,
  rope_parameters: plainRope,
  partial_rotary_factor: only(1),
  rotary_pct: only(1),
  rotary_emb_fraction: only(1, 0),
  rotary_emb_interleaved: off,
  rotary_scaling_factor: only(1),
  rotary_emb_scale_base: never,
  rotary_value: off,
  rope: only(true),
  use_rotary_embedding: never,
  alibi: off,
  relative_attention_num_buckets: never,
  // Sizes that the others do not give.
  head_dim: follows,
  embedding_size: (value, config) => value === config['hidden_size'],
  num_hidden_groups: only(1),
  inner_group_num: only(1),
  conv_kernel_size: only(0),
  // Norms, activations, scores.
  hidden_act: never,
  hidden_activation: never,
  activation: never,
  activation_function: never,
  feed_forward_proj: never,
  feed_forward_type: never,
  layer_norm_eps: never,
  layer_norm_epsilon: never,
  rms_norm_eps: never,
  norm_eps: never,
  layer_norm_type: only('layer_norm'),
  use_rms_norm: off,
  rms_norm: only(true),
  ngpt: off,
  use_qk_norm: off,
  qk_norm: off,
  qk_layernorm: off,
  talking_head: off,
  attn_logit_softcapping: off,
  query_pre_attn_scalar: follows,
  scale_attn_weights: only(true),
  scale_attn_by_inverse_layer_idx: off,
  logn_attention_scale: off,
  logn_attention_clip1: off,
  attention_multiplier: never,
  embedding_multiplier: only(1),
  residual_multiplier: only(1),
  clip_qkv: never,
  // The shape of a layer.
  prenorm: off,
  parallel_block: off,
  use_parallel_residual: never,
  parallel_attn: off,
  pack_qkv: only(true),
  num_experts: off,
  num_local_experts: off,
  moe_every_n_layers: off,
  use_task_id: off,
  pruned_heads: isEmpty,
  // What lies in the weights.
  quantization_config: never,
  compression_config: never,
  lora_adaptations: isEmpty,
  load_trained_adapters: off,
};

/** Whether a setting is refused where nobody has read it, unless it says nothing. */
export const changesVectors = (name: string): boolean => Object.hasOwn(CHANGING, name);

const GPT_NAMES = {
  hidden_size: 'n_embd',
  max_position_embeddings: 'n_positions',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
};
const T5_NAMES = {
  head_dim: 'd_kv',
  hidden_size: 'd_model',
  num_attention_heads: 'num_heads',
  num_hidden_layers: 'num_layers',
};

/** Other names that transformers takes for a setting, by `model_type`: the last of the two in the file would count. */
export const OTHER_NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  distilbert: { hidden_size: 'dim', num_attention_heads: 'n_heads', num_hidden_layers: 'n_layers' },
  gpt2: GPT_NAMES,
  t5: T5_NAMES,
  mt5: T5_NAMES,
  umt5: T5_NAMES,
};

function refuseContradictions(config: Config): void {
  for (const [other, name] of Object.entries(OTHER_NAMES[String(config['model_type'])] ?? {})) {
    const [one, two] = [config[other] ?? undefined, config[name] ?? undefined];
    if (one === undefined || two === undefined || one === two) continue;
    throw unsupported(
      `config.json: ${other} is ${JSON.stringify(one)}, and ${name}, which is the same setting, ${JSON.stringify(two)}. Take out the one that is wrong.`,
    );
  }
}

export interface WatchedConfig {
  /** What was asked for. */
  readonly read: ReadonlySet<string | symbol>;
  /** To be read in place of the original. */
  readonly config: Config;
  /** @throws ModelError: names a setting that changes vectors, and that nobody has read */
  readonly requireRead: () => void;
}

export function watchConfig(original: Config): WatchedConfig {
  const read = new Set<string | symbol>();
  let copied: string | symbol | undefined;
  const config = new Proxy(original, {
    get: (target, name) => {
      if (name !== copied) read.add(name);
      copied = undefined;
      return typeof name === 'string' ? target[name] : undefined;
    },
    // A copy asks for each property before it reads it: that is nobody's interest in it.
    getOwnPropertyDescriptor: (target, name) => {
      copied = name;
      return Object.getOwnPropertyDescriptor(target, name);
    },
  });
  return {
    config,
    read,
    requireRead: () => {
      refuseContradictions(original);
      for (const [name, isNeutral] of Object.entries(CHANGING)) {
        const value = original[name] ?? undefined;
        if (value === undefined || read.has(name) || isNeutral(value, original)) continue;
        throw unsupported(
          `config.json: ${name} is ${JSON.stringify(value)}, which kubembed does not compute for model_type ${String(original['model_type'])}.`,
        );
      }
    },
  };
}
