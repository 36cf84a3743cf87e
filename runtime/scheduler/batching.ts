// Forms one batch around the piece that must go first: equal lengths, or a pack of similar ones, whichever wastes less.
import { groupedCost, packedCost, withText, worthPacking } from './cost.ts';
import type { RunShape } from './cost.ts';
import type { Lane } from './lane.ts';
import type { BatchLayout, CostModel, Piece } from './types.ts';

export interface Formation {
  /** The lane of the first piece comes first. Each may fill the run up to its own number of tokens. */
  readonly lanes: readonly { readonly lane: Lane; readonly budget: number }[];
  readonly first: Piece;
  readonly packing: boolean;
  readonly cost: CostModel;
}

interface Plan {
  readonly layout: BatchLayout;
  readonly shape: RunShape;
  /** How many pieces to take of which lane and length. */
  readonly takes: readonly { readonly lane: Lane; readonly length: number; readonly count: number }[];
}

function planGroup({ lanes, first: { length } }: Formation): Plan {
  let texts = 0;
  const takes = lanes.map(({ lane, budget }) => {
    const room = Math.max(texts === 0 ? 1 : 0, Math.floor(budget / length) - texts);
    const count = Math.min(room, lane.count(length));
    texts += count;
    return { lane, length, count };
  });
  return { layout: 'grouped', shape: { texts, tokens: texts * length, longest: length }, takes };
}

/** Adds texts of one length for as long as they fit and pay. */
function grow(cost: CostModel, from: RunShape, length: number, most: { texts: number; tokens: number }): RunShape {
  let shape = from;
  while (
    shape.texts - from.texts < most.texts &&
    shape.tokens + length <= most.tokens &&
    worthPacking(cost, shape, length)
  ) {
    shape = withText(shape, length);
  }
  return shape;
}

function planPack({ lanes, first, cost }: Formation): Plan {
  let shape: RunShape = { texts: 1, tokens: first.length, longest: first.length };
  const takes = [];
  for (const [order, { lane, budget }] of lanes.entries()) {
    for (const length of lane.nearest(first.length)) {
      const own = order === 0 && length === first.length ? 1 : 0;
      const grown = grow(cost, shape, length, { texts: lane.count(length) - own, tokens: budget });
      const count = own + grown.texts - shape.texts;
      if (count > 0) takes.push({ lane, length, count });
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
