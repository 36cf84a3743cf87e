// A shell script that types the blocks of a page one after the other, as somebody would who reads it, and what came of each. Pure.
import type { Block } from './docs-blocks.ts';

export interface Outcome {
  readonly at: string;
  readonly seconds: number;
  readonly output: string;
}

/** What stands on lines of their own between the blocks' outputs. */
const BEGIN = '::begin';
const END = '::end';
const HEREDOC = 'END_OF_BLOCK';

/** How a block is typed: in this shell, or as a program of its language. `server` blocks get a terminal of their own. */
const INTERPRETERS: Readonly<Record<string, (file: string) => string>> = {
  sh: (file) => `. ${file}`,
  python: (file) => `python ${file}`,
  // In the folder where the packages are.
  js: (file) => `cp ${file} ./typed.mjs; node ./typed.mjs; rm ./typed.mjs`,
};

const PROLOGUE = `# Job control: Ctrl-C has to reach what runs in the other terminal, and a background job would ignore it.
set -eum
blocks=$(mktemp -d)
servers=()
interrupt() {
  local server
  for server in "\${servers[@]}"; do kill -INT -- "-$server" 2>/dev/null || true; wait "$server" || true; done
}
trap interrupt EXIT
in_another_terminal() {
  bash "$1" >"$1.log" 2>&1 &
  servers+=($!)
  until grep -q ' is ready at ' "$1.log"; do
    kill -0 $! 2>/dev/null || { cat "$1.log"; return 1; }
    sleep 0.2
  done
  cat "$1.log"
}
`;

function typed({ at, language, run, code }: Block, index: number): string {
  const file = `"$blocks/${index}"`;
  const interpreter = INTERPRETERS[language];
  if (interpreter === undefined) throw new Error(`${at}: nobody knows how to type "${language}"`);
  const command = run === 'server' ? `in_another_terminal ${file}` : interpreter(file);
  return [
    `cat >${file} <<'${HEREDOC}'`,
    code,
    HEREDOC,
    `echo; echo '${BEGIN} ${at}'; SECONDS=0`,
    command,
    `echo; echo "${END} $SECONDS"`,
    '',
  ].join('\n');
}

export const scriptOf = (blocks: readonly Block[]): string =>
  [PROLOGUE, ...blocks.map((block, index) => typed(block, index))].join('\n');

/** The blocks that came to their end, in order. */
export function outcomesIn(output: string): Outcome[] {
  const pattern = new RegExp(`^${BEGIN} (\\S+)\\n([^]*?)\\n${END} (\\d+)$`, 'gm');
  return [...output.matchAll(pattern)].map(([, at, text, seconds]) => ({
    at: at!,
    output: text!,
    seconds: Number(seconds),
  }));
}
