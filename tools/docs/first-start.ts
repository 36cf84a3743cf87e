// What the first `npm start` takes, as tests/tools/start.test.ts measured it, in words for people. Pure.

export interface FirstStart {
  /** Megabytes to download: packages; Node, where it is older than 24; weights of the first listed model. */
  readonly download: number;
  readonly node: number;
  readonly weights: number;
  /** Until it serves, on two cores with a fast network, the weights there already; and every later time. */
  readonly seconds: number;
  readonly again: number;
}

/** Of a network of 50 Mbit/s. */
const MEGABYTES_A_MINUTE = 375;

const count = (number: number, unit: string): string => `${number} ${unit}${number === 1 ? '' : 's'}`;

export function renderFirstStart({ download, node, weights, seconds, again }: FirstStart): string {
  const all = download + node + weights;
  const minutes = Math.round((all / MEGABYTES_A_MINUTE + seconds / 60) * 2) / 2;
  return (
    `The first start downloads ${download} MB of packages and ${weights} MB of weights, and ${node} MB more where your Node is older than 24. ` +
    `The packages take ${seconds} seconds on a fast network, and everything takes ${count(minutes, 'minute')} at 50 Mbit/s. Later starts take ${count(again, 'second')}.`
  );
}
