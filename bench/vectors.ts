// Whether a server gives the vectors it should: each text alone, and all of them in one request.
import { distance } from '../tests/helpers/references.ts';
import type { Reference } from '../tests/helpers/references.ts';

/** Numbers of a server that gives other vectors would be worth nothing. */
export async function smallestCosine(
  embed: (texts: readonly string[]) => Promise<number[][]>,
  references: readonly Reference[],
): Promise<number> {
  const alone: number[][] = [];
  for (const { text } of references) alone.push(...(await embed([text])));
  const together = await embed(references.map(({ text }) => text));
  const distances = [alone, together].flatMap((vectors) =>
    references.map(({ vector }, index) => distance(vectors[index] ?? [], vector)),
  );
  return 1 - Math.max(...distances);
}
