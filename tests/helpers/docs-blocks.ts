// The code blocks of a Markdown page, and who runs them: written after the language, as in ```sh run=here. Pure.

/** `here`: in a newcomer's file system. `server`: there too, in a terminal of its own. `proxy`: there, where only a proxy leads out. `cluster`: on a test cluster. `client`: by a client of local mode. `ci`: by .ci/run itself. */
export const RUNNERS = ['here', 'server', 'proxy', 'cluster', 'cluster-server', 'client', 'ci'] as const;
export type Runner = (typeof RUNNERS)[number];

export interface Block {
  /** `README.md:27`, the first line of the code. */
  readonly at: string;
  readonly language: string;
  readonly run: Runner | undefined;
  /** A step of a recipe: of a file that is written, its path; else empty. */
  readonly recipe?: string;
  readonly code: string;
}

/** Languages in which people are told to type something. */
export const COMMANDS: ReadonlySet<string> = new Set(['sh', 'bash', 'shell', 'console', 'python', 'js', 'ts']);

const isRunner = (text: string): text is Runner => RUNNERS.some((runner) => runner === text);

/** @throws on a runner that does not exist, and on a block that is not closed. */
export function blocksOf(markdown: string, file: string): Block[] {
  const blocks: Block[] = [];
  let open: { at: string; indent: string; info: string; lines: string[] } | undefined;
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = /^(\s*)```\s*(.*)$/.exec(line);
    if (open === undefined) {
      if (fence !== null) open = { at: `${file}:${index + 2}`, indent: fence[1]!, info: fence[2]!, lines: [] };
    } else if (fence !== null) {
      blocks.push(finished(open));
      open = undefined;
    } else {
      open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    }
  }
  if (open !== undefined) throw new Error(`${open.at}: the block is not closed`);
  return blocks;
}

function finished({ at, info, lines }: { at: string; info: string; lines: readonly string[] }): Block {
  const [language = '', ...words] = info.split(/\s+/);
  const runner = words.find((word) => word.startsWith('run='))?.slice('run='.length);
  if (runner !== undefined && !isRunner(runner)) throw new Error(`${at}: nobody runs "run=${runner}"`);
  const step = words.map((word) => /^recipe(?:=(.*))?$/.exec(word)).find((match) => match !== null);
  return { at, language, run: runner, ...(step && { recipe: step[1] ?? '' }), code: lines.join('\n') };
}
