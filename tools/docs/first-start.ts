// What the first `npm start` takes, as tests/tools/start.test.ts measured it, in words for people. Pure.

export interface FirstStart {
  /** Megabytes to download: packages; Node, where it is older than 24; weights of the first listed model. */
  readonly download: number;
  readonly node: number;
  readonly weights: number;
  /** On two busy cores with a fast network, and every later time. */
  readonly seconds: number;
  readonly again: number;
}

/** Of a network of 50 Mbit/s. */
const MEGABYTES_A_MINUTE = 375;

export function renderFirstStart({ download, node, weights, seconds, again }: FirstStart): string {
  const all = download + node + weights;
  const minutes = Math.round((all / MEGABYTES_A_MINUTE + seconds / 60) * 2) / 2;
  return (
    `The first time that is a download of ${download} MB of packages, ${node} MB of Node where it is older than 24, and ${weights} MB of weights: ` +
    `${seconds} seconds on a fast network, ${minutes} minutes at 50 Mbit/s. Later starts take ${again} seconds.`
  );
}
