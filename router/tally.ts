// Answered requests on their way to the metrics: counted in plain numbers, told to the library in batches.

/** Of one model, since they were last told. */
export interface Tallied {
  /** Answers by status code. */
  readonly codes: Map<number, number>;
  readonly seconds: number[];
  readonly upstreamSeconds: number[];
  inputs: number;
  tokens: number;
}

export interface Tally {
  readonly of: (model: string) => Tallied;
  /** One more answer. */
  readonly answered: (model: string, status: number, seconds: number) => void;
  /** Tells all that was counted. To be called before anyone reads. */
  readonly pour: () => void;
}

/** Bounds the memory that waits for a reader. */
const MOST_WAITING = 512;

const empty = (): Tallied => ({ codes: new Map(), seconds: [], upstreamSeconds: [], inputs: 0, tokens: 0 });

/** The library looks a series up by its labels at each count, and that is most of what counting costs. */
export const createTally = (tell: (model: string, tallied: Tallied) => void): Tally => {
  const models = new Map<string, Tallied>();

  const of = (model: string): Tallied => {
    const known = models.get(model);
    if (known) return known;
    const fresh = empty();
    models.set(model, fresh);
    return fresh;
  };

  const pour = (): void => {
    const told = [...models];
    models.clear();
    for (const [model, tallied] of told) tell(model, tallied);
  };

  return {
    of,
    answered: (model, status, seconds) => {
      const { codes, seconds: all } = of(model);
      codes.set(status, (codes.get(status) ?? 0) + 1);
      all.push(seconds);
      if (all.length >= MOST_WAITING) pour();
    },
    pour,
  };
};
