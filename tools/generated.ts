// Files that are made from others: which of them are stale, and the command that rewrites or, with `--check`, only names them.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';

const ROOT = join(import.meta.dirname, '..');

/** By path from the root: what the file should hold. */
export type Generated = Readonly<Record<string, () => string | Promise<string>>>;

export async function formatMarkdown(markdown: string): Promise<string> {
  return await format(markdown, { ...(await resolveConfig(join(ROOT, 'README.md'))), parser: 'markdown' });
}

/** Files that are missing or differ from what they are made from, with what they should hold. */
export async function staleOf(generated: Generated): Promise<ReadonlyMap<string, string>> {
  const stale = new Map<string, string>();
  for (const [path, make] of Object.entries(generated)) {
    const content = await make();
    const file = join(ROOT, path);
    if (!existsSync(file) || readFileSync(file, 'utf8') !== content) stale.set(path, content);
  }
  return stale;
}

/** @param script of package.json that writes them */
export function settleStale(stale: ReadonlyMap<string, string>, script: string, args: readonly string[]): void {
  for (const [path, content] of stale) {
    if (args.includes('--check')) {
      console.error(`kubembed: ${path} is stale; run \`npm run ${script}\``);
      process.exitCode = 1;
    } else {
      mkdirSync(dirname(join(ROOT, path)), { recursive: true });
      writeFileSync(join(ROOT, path), content);
      console.log(`wrote ${path}`);
    }
  }
}
