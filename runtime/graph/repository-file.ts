// How a repository's own ONNX file is run: which of its outputs is taken, and what pools and goes on behind it. Pure.
import type { OnnxFacts } from '../../hub/onnx-data.ts';
import { unsupported } from '../model/description.ts';
import type { ModelDescription } from '../model/description.ts';
import { choosePooling, printPooling } from '../model/modules.ts';
import type { PoolingChoice } from '../model/modules.ts';
import { buildTail } from './build.ts';
import { requireEmbedder } from './leftover.ts';
import type { TensorIndex } from './weights.ts';

const SENTENCE_OUTPUT = 'sentence_embedding';
const TOKEN_OUTPUTS = ['last_hidden_state', 'token_embeddings'];
/** What a run is fed. */
const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];

export interface FilePlan {
  readonly outputName: string;
  /** Whether that output is the text's vector already, instead of one for each token. */
  readonly isVector: boolean;
  /** What pools and goes on, where there are modules behind the pooling. */
  readonly tail: ReturnType<typeof buildTail> | undefined;
}

type Facts = Pick<OnnxFacts, 'inputs' | 'outputs'>;

/** Whether what the file itself makes of a text is what was asked for: the repository's own pooling, and the modules behind it. */
function givesVectors({ outputs }: Facts, description: ModelDescription, choice: PoolingChoice): boolean {
  const [asked, declared] = [choosePooling(description, choice), choosePooling(description, 'declared')];
  return outputs.includes(SENTENCE_OUTPUT) && asked.includePrompt && printPooling(asked) === printPooling(declared);
}

/**
 * @param tensors of the modules behind the model
 * @throws ModelError: why the file cannot be used
 */
export function planFile(
  description: ModelDescription,
  facts: Facts,
  tensors: TensorIndex,
  choice: PoolingChoice,
): FilePlan {
  requireEmbedder(description);
  const strange = facts.inputs.find((name) => !INPUTS.includes(name));
  if (strange !== undefined) {
    throw unsupported(
      `The repository's ONNX file wants an input ${strange}; kubembed has ${INPUTS.join(', ')} for it.`,
    );
  }
  if (givesVectors(facts, description, choice)) return { outputName: SENTENCE_OUTPUT, isVector: true, tail: undefined };
  const outputName = TOKEN_OUTPUTS.find((name) => facts.outputs.includes(name));
  if (outputName === undefined) {
    throw unsupported(
      `The repository's ONNX file gives ${facts.outputs.join(', ')}; ${TOKEN_OUTPUTS.join(' or ')} is needed.`,
    );
  }
  const goesOn = description.steps.length > 0 || description.truncateDim !== undefined;
  return { outputName, isVector: false, tail: goesOn ? buildTail(description, tensors, choice) : undefined };
}
