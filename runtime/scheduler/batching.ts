// Forms one batch around the piece that must go first: equal lengths, or a pack of similar ones, whichever wastes less.
import { groupedCost, packedCost, withText, worthPacking } from './cost.ts';
import type { RunShape } from './cost.ts';
import type { Lane } from './lane.ts';
import type { BatchLayout, CostModel, Piece } from './types.ts';

export interface Formation {
  /** The lane of the first piece comes first. */
  readonly lanes: readonly Lane[];
  readonly first: Piece;
  readonly budget: number;
  readonly packing: boolean;
  readonly cost: CostModel;
}

interface Plan {
  readonly layout: BatchLayout;
  readonly shape: RunShape;
  /** How many pieces to take of which lane and length. */
  readonly takes: readonly { readonly lane: Lane; readonly length: number; readonly count: number }[];
}

function planGroup({ lanes, first: { length }, budget }: Formation): Plan {
  let room = Math.max(1, Math.floor(budget / length));
  const takes = lanes.map((lane) => {
    const count = Math.min(room, lane.count(length));
    room -= count;
    return { lane, length, count };
  });
  const texts = takes.reduce((sum, { count }) => sum + count, 0);
  return { layout: 'grouped', shape: { texts, tokens: texts * length, longest: length }, takes };
}

/** How many texts of one length still fit and pay; the shape that results. */
function fill({ budget, cost }: Formation, from: RunShape, length: number, available: number): [number, RunShape] {
  let shape = from;
  let count = 0;
  while (count < available && shape.tokens + length <= budget && worthPacking(cost, shape, length)) {
    shape = withText(shape, length);
    count++;
  }
  return [count, shape];
}

function planPack(formation: Formation): Plan {
  const { lanes, first } = formation;
  let shape: RunShape = { texts: 1, tokens: first.length, longest: first.length };
  const takes = [];
  for (const [order, lane] of lanes.entries()) {
    for (const length of lane.nearest(first.length)) {
      const own = order === 0 && length === first.length ? 1 : 0;
      const [count, grown] = fill(formation, shape, length, lane.count(length) - own);
      if (count + own > 0) takes.push({ lane, length, count: count + own });
      shape = grown;
    }
  }
  return { layout: 'packed', shape, takes };
}

function choose(formation: Formation): Plan {
  const group = planGroup(formation);
  const { packing, cost } = formation;
  const perToken = ({ shape }: Plan, of: typeof groupedCost) => of(cost, shape) / shape.tokens;
  const grouped = perToken(group, groupedCost);
  // No pack costs less per token than its gathers.
  if (!packing || grouped <= cost.perPackedToken) return group;
  const pack = planPack(formation);
  return pack.shape.texts > group.shape.texts && perToken(pack, packedCost) < grouped ? pack : group;
}

/** Takes the pieces out of their lanes. */
export function formBatch(formation: Formation): { layout: BatchLayout; pieces: Piece[]; tokens: number } {
  const plan = choose(formation);
  const pieces: Piece[] = [];
  for (const { lane, length, count } of plan.takes) {
    for (let taken = 0; taken < count; taken++) {
      const piece = lane.take(length);
      if (piece) pieces.push(piece);
    }
  }
  return { layout: plan.layout, pieces, tokens: plan.shape.tokens };
}
