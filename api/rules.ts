// Rules between fields: each once, as CEL for the API server and as a predicate for files read without one.
import type { EmbeddingModelSpec } from './types.ts';

export interface Rule {
  /** Where in the spec the rule stands, `''` for the spec itself. */
  readonly at: '' | 'scaling' | 'cache' | 'revision';
  readonly cel: string;
  readonly message: string;
  readonly holds: (spec: EmbeddingModelSpec) => boolean;
}

const hasGpuResource = ({ resources }: EmbeddingModelSpec): boolean =>
  [resources?.limits, resources?.requests].some((list) => list !== undefined && 'nvidia.com/gpu' in list);

const count = (...present: readonly boolean[]): number => present.filter(Boolean).length;

export const RULES: readonly Rule[] = [
  {
    at: 'scaling',
    cel: '!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas',
    message: 'minReplicas must not exceed maxReplicas',
    holds: ({ scaling }) =>
      scaling?.minReplicas === undefined ||
      scaling.maxReplicas === undefined ||
      scaling.minReplicas <= scaling.maxReplicas,
  },
  {
    at: 'cache',
    cel: '[has(self.emptyDir), has(self.existingClaim), has(self.claim)].filter(present, present).size() == 1',
    message: 'exactly one of emptyDir, existingClaim and claim must be set',
    holds: ({ cache }) =>
      cache === undefined ||
      count(cache.emptyDir !== undefined, cache.existingClaim !== undefined, cache.claim !== undefined) === 1,
  },
  {
    at: 'revision',
    cel: "!self.contains('..')",
    message: 'a revision must not contain ..',
    holds: ({ revision }) => revision?.includes('..') !== true,
  },
  {
    at: '',
    cel: "!has(self.precision) || self.precision != 'int8' || !has(self.device) || self.device == 'cpu'",
    message: 'precision int8 needs device cpu',
    holds: ({ precision, device }) => precision !== 'int8' || (device ?? 'cpu') === 'cpu',
  },
  {
    at: '',
    cel: "!has(self.precision) || self.precision != 'float16' || (has(self.device) && self.device == 'gpu')",
    message: 'precision float16 needs device gpu',
    holds: ({ precision, device }) => precision !== 'float16' || device === 'gpu',
  },
  {
    at: '',
    cel: [
      "(has(self.device) && self.device == 'gpu') || !has(self.resources)",
      "((!has(self.resources.limits) || !('nvidia.com/gpu' in self.resources.limits)) && (!has(self.resources.requests) || !('nvidia.com/gpu' in self.resources.requests)))",
    ].join(' || '),
    message: 'resources with nvidia.com/gpu need device gpu',
    holds: (spec) => spec.device === 'gpu' || !hasGpuResource(spec),
  },
  {
    at: '',
    cel: '!has(self.aliases) || !(self.model in self.aliases)',
    message: 'an alias must differ from the model',
    holds: ({ aliases, model }) => aliases?.includes(model) !== true,
  },
];

/** Transition rule: it needs the old object, so only an update can break it. */
export const MODEL_IMMUTABLE = {
  rule: 'self == oldSelf',
  message: 'model is immutable: delete this EmbeddingModel and make another',
};

/** The name is a label value on every child. */
export const NAME_MAX = 63;
export const NAME_RULE = {
  rule: `size(self.metadata.name) <= ${NAME_MAX}`,
  message: `the name of an EmbeddingModel must have at most ${NAME_MAX} characters`,
};
