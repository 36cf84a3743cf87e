// The way of a request in the thread that has it: checked, admitted, tokenised piece by piece, and answered.
import { heavyTurn } from '../../common/util/turns.ts';
import type { Sequence } from '../scheduler/batching.ts';
import type { Compute } from './compute.ts';
import { EngineError } from './contract.ts';
import type { EmbedRequest, EmbedResult, Embedder, EngineInfo, EngineInput } from './contract.ts';
import { checkTokenLists, distinctInputs, estimateTokens, openRequest } from './requests.ts';
import type { DistinctInputs, OpenRequest, Steps } from './requests.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Texts tokenised before the workers get the first sequences of a request. */
const CHUNK = 32;

const now = (): number => performance.now();

/** Texts with their prompt before them; token ids are taken as they are. */
const withPrompt = ({ inputs, prompt = '' }: EmbedRequest): readonly EngineInput[] =>
  prompt === '' ? inputs : inputs.map((input) => (typeof input === 'string' ? prompt + input : input));

function* prepare(request: EmbedRequest, vocabularySize: number): Steps<DistinctInputs> {
  yield* checkTokenLists(request.inputs, vocabularySize);
  return yield* distinctInputs(withPrompt(request));
}

export interface EmbedParts {
  readonly info: Pick<EngineInfo, 'maxTokens' | 'vocabularySize'>;
  readonly tokenizer: Tokenizer;
  readonly compute: Compute;
  /** Whether the vector is of the prompt as well. */
  readonly includePrompt: boolean;
}

export function createEmbed({ info, tokenizer, compute, includePrompt }: EmbedParts): Embedder['embed'] {
  const { maxTokens, vocabularySize } = info;
  const live = new Set<number>();

  function admit(request: EmbedRequest, { inputs, places }: DistinctInputs): OpenRequest {
    const tokens = inputs.reduce((sum, input) => sum + estimateTokens(input, maxTokens), 0);
    const open = openRequest({ id: compute.nextId(), request, places, distinct: inputs.length, maxTokens });
    const refusal = compute.admit(open, { priority: request.priority, inputs: inputs.length, tokens });
    if (refusal !== undefined) throw refusal;
    live.add(open.id);
    return open;
  }

  async function tokenize(open: OpenRequest, inputs: readonly EngineInput[], prompt: string): Promise<void> {
    const started = now();
    const skip = includePrompt || prompt === '' ? 0 : await tokenizer.promptTokens(prompt);
    for (let start = 0; start < inputs.length && live.has(open.id); start += CHUNK) {
      // Many inputs must not keep the event loop from other requests.
      if (inputs.length > CHUNK) await heavyTurn();
      const chunk = await tokenizer.encodeAll(inputs.slice(start, start + CHUNK), open.cutAt);
      const sequences = chunk.map((tokens, offset): Sequence => {
        const index = start + offset;
        open.tokenized(index, { ...tokens, skip: typeof inputs[index] === 'string' ? skip : 0 }, now());
        return { request: open.id, index, length: tokens.ids.length };
      });
      open.tokenizing(started, now());
      compute.add(open.id, sequences, start + CHUNK >= inputs.length);
    }
  }

  return async (request: EmbedRequest): Promise<EmbedResult> => {
    const { signal } = request;
    const steps = prepare(request, vocabularySize);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) await heavyTurn();
    const { inputs } = step.value;
    const open = admit(request, step.value);
    const onAbort = (): void => open.fail(new EngineError('aborted', 'The request was aborted.'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
    try {
      tokenize(open, inputs, request.prompt ?? '').catch(open.fail);
      return await open.result;
    } finally {
      signal.removeEventListener('abort', onAbort);
      live.delete(open.id);
      compute.leave(open.id);
    }
  };
}
