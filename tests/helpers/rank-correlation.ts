// Spearman's rank correlation: whether two lists order the same things alike.

/** From 1; equal values share the mean of their ranks. */
function ranks(values: readonly number[]): number[] {
  const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!);
  const ranked = new Array<number>(values.length);
  for (let start = 0, end = 0; start < order.length; start = end) {
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (const index of order.slice(start, end)) ranked[index] = (start + 1 + end) / 2;
  }
  return ranked;
}

function pearson(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  const sum = (of: (index: number) => number): number => a.reduce((total, _, index) => total + of(index), 0);
  const both = sum((index) => (a[index]! - meanA) * (b[index]! - meanB));
  const spread = sum((index) => (a[index]! - meanA) ** 2) * sum((index) => (b[index]! - meanB) ** 2);
  return both / Math.sqrt(spread);
}

export const spearman = (a: readonly number[], b: readonly number[]): number => pearson(ranks(a), ranks(b));
