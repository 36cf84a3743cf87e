// The chart's README: an introduction and the table of values, read from values.yaml and its comments.
import { isMap, isScalar, parseDocument } from 'yaml';
import type { Node, Pair } from 'yaml';
import { code, table } from '../docs/markdown.ts';

interface Value {
  readonly key: string;
  readonly fallback: string;
  readonly description: string;
}

/** Settings that mean the same wherever they stand. */
const COMMON: Readonly<Record<string, string>> = {
  affinity: 'As in a pod.',
  annotations: 'Annotations of it.',
  digest: 'Digest (`sha256:…`); wins over the tag.',
  className: 'Its class; the cluster’s default when empty.',
  interval: 'Time between scrapes.',
  labels: 'Further labels, by which Prometheus selects it.',
  loadBalancerClass: 'As in a Service.',
  maxReplicas: 'Most replicas.',
  metricRelabelings: 'As in the Prometheus operator’s endpoint.',
  minReplicas: 'Fewest replicas.',
  nodeSelector: 'As in a pod.',
  path: 'Path below which the endpoint is.',
  podAnnotations: 'Further annotations of the pods.',
  podLabels: 'Further labels of the pods.',
  priorityClassName: 'As in a pod.',
  relabelings: 'As in the Prometheus operator’s endpoint.',
  resources: 'Requests and limits, as in a container.',
  scrapeTimeout: 'Longest time of a scrape; Prometheus’ default when empty.',
  tag: "Tag; the chart's appVersion when empty.",
  tolerations: 'As in a pod.',
};

/** Every value that can be set, in the order of the file. Throws on one without a description. */
export function documentedValues(text: string): Value[] {
  const root = parseDocument(text).contents;
  if (!isMap<Node, Node>(root)) throw new Error('values.yaml is not a map');
  return root.items.flatMap((pair) => valuesOf(pair, ''));
}

function valuesOf(pair: Pair<Node, Node | null>, parent: string): Value[] {
  const name = String(isScalar(pair.key) ? pair.key.value : pair.key);
  const key = parent === '' ? name : `${parent}.${name}`;
  const comment = /^ -- (.*)$/m.exec(pair.key.commentBefore ?? '')?.[1] ?? COMMON[name];
  if (comment === undefined && isMap<Node, Node>(pair.value) && pair.value.items.length > 0) {
    return pair.value.items.flatMap((child, index) => valuesOf(withComment(child, index, pair.value), key));
  }
  if (comment === undefined) throw new Error(`values.yaml: ${key} has no description`);
  return [{ key, fallback: JSON.stringify(pair.value?.toJSON() ?? null), description: comment }];
}

/** The parser hands a map's first comment to the map itself and not to its first key. */
function withComment(child: Pair<Node, Node>, index: number, map: Node | null): Pair<Node, Node> {
  if (index === 0) child.key.commentBefore ??= map?.commentBefore ?? null;
  return child;
}

export function renderReadme(introduction: string, values: string): string {
  const rows = documentedValues(values).map(({ key, fallback, description }) => [
    code(key),
    description,
    code(fallback),
  ]);
  return `<!-- Made by \`npm run chart:sync\` from tools/chart/introduction.md and values.yaml. -->\n\n${introduction.trim()}\n\n## Values\n\n${table(['Value', 'Meaning', 'Default'], rows)}\n`;
}
