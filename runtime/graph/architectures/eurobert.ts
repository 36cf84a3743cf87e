// EuroBERT: Llama's layers, each token seeing all of its text.
import type { Architecture } from '../ops.ts';
import { encodeLlama } from './llama.ts';

export const euroBert: Architecture = {
  endlessPositions: true,
  modelTypes: ['eurobert'],
  classes: ['EuroBertModel', 'EuroBertForMaskedLM'],
  encode: (context, weights, description) =>
    encodeLlama(context, weights, description, { causal: false, epsilon: 1e-5 }),
};
