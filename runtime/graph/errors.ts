// Why no graph can be built from a repository; the codes are condition reasons.

export type GraphErrorCode = 'UnsupportedArchitecture' | 'CorruptWeights';

export class GraphError extends Error {
  readonly code: GraphErrorCode;

  constructor(code: GraphErrorCode, message: string) {
    super(message);
    this.name = 'GraphError';
    this.code = code;
  }
}

/** The model is sound, but kubembed has no builder for it. */
export class UnsupportedArchitecture extends GraphError {
  constructor(message: string) {
    super('UnsupportedArchitecture', message);
    this.name = 'UnsupportedArchitecture';
  }
}
