// How much memory operator and router need for so many models and replicas: the formula that the chart's limits follow from, and that the
// scale bench is compared with. Pure.

export interface Deployed {
  /** EmbeddingModels, those of the list included. */
  readonly models: number;
  /** Of all models together. */
  readonly replicas: number;
}

interface Need {
  readonly baseMib: number;
  readonly modelKib: number;
  readonly replicaKib: number;
}

export type Component = 'operator' | 'router';

/** A router needs what it may hold for clients, and its cache, besides. */
const NEEDS: Readonly<Record<Component, Need>> = {
  operator: { baseMib: 200, modelKib: 20, replicaKib: 5 },
  router: { baseMib: 200, modelKib: 10, replicaKib: 4 },
};

export const memoryMib = (component: Component, { models, replicas }: Deployed): number => {
  const { baseMib, modelKib, replicaKib } = NEEDS[component];
  return baseMib + (modelKib * models + replicaKib * replicas) / 1024;
};

/** As the values say it. */
export const memoryFormula = (component: Component): string => {
  const { baseMib, modelKib, replicaKib } = NEEDS[component];
  return `${baseMib} MiB + ${modelKib} KiB × EmbeddingModels + ${replicaKib} KiB × replicas`;
};
