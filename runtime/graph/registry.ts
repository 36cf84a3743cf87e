// Which architecture builds which model.
import type { ModelDescription } from '../model/types.ts';
import type { Architecture } from './architecture.ts';
import { albert } from './albert.ts';
import { bert } from './bert.ts';
import { distilbert } from './distilbert.ts';
import { UnsupportedArchitecture } from './errors.ts';
import { gte } from './gte.ts';
import { jinaBert } from './jina-bert.ts';
import { modernBert } from './modernbert.ts';
import { mpnet } from './mpnet.ts';
import { nomicBert } from './nomic-bert.ts';
import { qwen3 } from './qwen3.ts';
import { roberta } from './roberta.ts';

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

const unique = (names: readonly string[]) => [...new Set(names)].sort();

export const supportedModelTypes: readonly string[] = unique(ARCHITECTURES.flatMap(({ modelTypes }) => modelTypes));

/** By class name first: custom code may reuse a `model_type` for another class. */
export function findArchitecture({ architecture, modelType }: ModelDescription): Architecture {
  const found =
    ARCHITECTURES.find(({ classes }) => classes.includes(architecture)) ??
    ARCHITECTURES.find(({ modelTypes }) => modelTypes.includes(modelType));
  if (found) return found;
  throw new UnsupportedArchitecture(
    `Architecture ${architecture} (model_type ${modelType}) is not supported; supported model types: ${supportedModelTypes.join(', ')}.`,
  );
}
