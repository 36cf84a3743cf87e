// What one architecture's file provides. Types only.
import type { ModelDescription } from '../model/types.ts';
import type { Value } from './builder.ts';
import type { Config } from './config.ts';
import type { Context } from './ops.ts';
import type { FeedPlan } from './types.ts';
import type { Weights } from './weights.ts';

export interface Architecture {
  /** `model_type` values of config.json that mean this architecture. */
  readonly modelTypes: readonly string[];
  /** `architectures` values of config.json that mean it. */
  readonly classes: readonly string[];
  /** Token ids → final hidden states, as rows. */
  encode(
    context: Context,
    weights: Weights,
    description: ModelDescription,
  ): { readonly rows: Value; readonly width: number };
  /** How positions are numbered where `encode` asks the layout for them; omitted: from 0. */
  positions?(config: Config): FeedPlan['positions'];
}
