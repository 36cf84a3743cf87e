// Which series a PromQL expression reads: enough of the grammar to check names and labels against what processes emit.

export interface Selector {
  readonly metric: string;
  readonly labels: readonly string[];
}

const STRING = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g;
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g;
const WORDS = new Set(['and', 'or', 'unless', 'offset', 'bool', 'by', 'without', 'on', 'ignoring']);
const NAME = /[a-zA-Z_][a-zA-Z0-9_]*/;

/** Every metric that the expression selects, with the labels that its selectors match on. */
export function selectorsOf(expression: string): Selector[] {
  const bare = expression.replaceAll(STRING, '""').replaceAll(GROUPING, ' ');
  const found: Selector[] = [];
  const token = new RegExp(`(?<![\\w$.])(${NAME.source})\\s*(\\{[^}]*\\}|\\()?`, 'g');
  for (const [, name = '', after = ''] of bare.replaceAll(/\[[^\]]*\]/g, '').matchAll(token)) {
    if (after === '(' || WORDS.has(name)) continue;
    const labels = [...after.matchAll(/([a-zA-Z_]\w*)\s*[=!]/g)].map(([, label]) => label!);
    found.push({ metric: name, labels });
  }
  return found;
}

/** Labels that aggregations and matchings name. */
export const groupingLabels = (expression: string): string[] =>
  [...expression.replaceAll(STRING, '""').matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)].flatMap(([, list = '']) =>
    list
      .split(',')
      .map((label) => label.trim())
      .filter((label) => label !== ''),
  );
