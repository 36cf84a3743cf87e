// Which architecture builds which model.
import type { ModelDescription } from '../model/description.ts';
import { albert } from './architectures/albert.ts';
import { bert, roberta } from './architectures/bert.ts';
import { distilbert } from './architectures/distilbert.ts';
import { gte } from './architectures/gte.ts';
import { jinaBert } from './architectures/jina-bert.ts';
import { modernBert } from './architectures/modernbert.ts';
import { mpnet } from './architectures/mpnet.ts';
import { nomicBert } from './architectures/nomic-bert.ts';
import { qwen3 } from './architectures/qwen3.ts';
import { unsupported } from '../model/description.ts';
import type { Architecture } from './ops.ts';

const ARCHITECTURES: readonly Architecture[] = [
  bert,
  roberta,
  mpnet,
  distilbert,
  albert,
  nomicBert,
  modernBert,
  gte,
  jinaBert,
  qwen3,
];

const SUPPORTED_TYPES = [...new Set(ARCHITECTURES.flatMap(({ modelTypes }) => modelTypes))].sort();

/** By class name first: custom code may reuse a `model_type` for another class. */
export function findArchitecture({ architecture, modelType }: ModelDescription): Architecture {
  const found =
    ARCHITECTURES.find(({ classes }) => classes.includes(architecture)) ??
    ARCHITECTURES.find(({ modelTypes }) => modelTypes.includes(modelType));
  if (found) return found;
  throw unsupported(
    `Architecture ${architecture} (model_type ${modelType}) is not supported; supported model types: ${SUPPORTED_TYPES.join(', ')}.`,
  );
}
