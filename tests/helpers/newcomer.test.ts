import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { blocksOf } from './docs-blocks.ts';
import { outcomesIn, scriptOf } from './newcomer.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubembed-typed-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function type(page: string): { outcomes: ReturnType<typeof outcomesIn>; failed: boolean } {
  const script = join(folder, 'script');
  writeFileSync(script, scriptOf(blocksOf(page, 'p.md')));
  try {
    return { outcomes: outcomesIn(execFileSync('bash', [script], { encoding: 'utf8', cwd: folder })), failed: false };
  } catch (error) {
    return { outcomes: outcomesIn((error as { stdout: string }).stdout), failed: true };
  }
}

const SERVER = `\`\`\`sh run=server
echo 'x is ready at y'; trap 'echo stopped >>stops; exit 0' INT; while :; do sleep 0.1; done
\`\`\`
`;

it('types blocks into one shell, beside a server that Ctrl-C stops at the end', () => {
  const { outcomes, failed } = type(
    `${SERVER}\n\`\`\`sh run=here\nA=kept\n\`\`\`\n\n\`\`\`sh run=here\necho "$A"\ncat <<'EOF'\n$A stays\nEOF\n\`\`\`\n`,
  );
  expect(failed).toBe(false);
  expect(outcomes.map(({ at, output }) => [at, output.trim()])).toEqual([
    ['p.md:2', 'x is ready at y'],
    ['p.md:6', ''],
    ['p.md:10', 'kept\n$A stays'],
  ]);
  expect(execFileSync('cat', [join(folder, 'stops')], { encoding: 'utf8' })).toBe('stopped\n');
});

it('ends at the first command that fails, in the middle of a block too', () => {
  const { outcomes, failed } = type('```sh run=here\necho a\n```\n\n```sh run=here\nfalse\necho b\n```\n');
  expect(failed).toBe(true);
  expect(outcomes.map(({ at }) => at)).toEqual(['p.md:2']);
});

it('fails when a server ends instead of getting ready', () => {
  expect(type('```sh run=server\necho no\n```\n')).toEqual({ outcomes: [], failed: true });
});
