// EuroBERT: Llama's layers, each token seeing all of its text.
import type { Architecture } from '../ops.ts';
import { encodeLlama } from './llama.ts';

export const euroBert: Architecture = {
  modelTypes: ['eurobert'],
  classes: ['EuroBertModel', 'EuroBertForMaskedLM'],
  encode(context, weights, description) {
    const config = { rms_norm_eps: 1e-5, ...description.config };
    return encodeLlama(context, weights, { ...description, config }, false);
  },
};
