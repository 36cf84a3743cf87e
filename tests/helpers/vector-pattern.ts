// What an answer with vectors looks like when it is read out of everything that a terminal showed. Pure.

/** Begins with a digit, so that there is one way to read it: a sign that the rest could take as well doubles the ways with every number. */
const NUMBER = String.raw`-?\d[\d.e-]*`;

/** @param dimensions of the vector that must be there, at least */
export const vectorPattern = (dimensions: number): RegExp =>
  new RegExp(String.raw`"embedding":\[(?:${NUMBER},){${String(dimensions - 1)}}${NUMBER}\]`);
