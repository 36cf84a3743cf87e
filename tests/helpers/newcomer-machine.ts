// The machine of a newcomer: a Debian in which a shell script runs, as newcomer.sh describes it.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SCRIPT = join(import.meta.dirname, 'newcomer.sh');
/** A busy machine takes minutes to install; the file system ends what runs in it a little earlier than the test ends. */
const LIMIT_SECONDS = 1200;
export const LIMIT_MS = LIMIT_SECONDS * 1000;

export interface NewcomerMachine {
  readonly user?: 'root' | 'newcomer';
  /** Whole major versions: the one that many systems have, and the one that kubembed brings. */
  readonly node?: 20 | 24;
  /** npm has downloaded nothing before. */
  readonly isCold?: boolean;
  /** The Unix socket that is all that leads out, as 127.0.0.1:3128. */
  readonly socket?: string | undefined;
}

/** @returns all that was printed. Rejects, with the end of it, when the script fails. */
export async function asNewcomer(script: string, machine: NewcomerMachine = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-newcomer-'));
  const { user = 'newcomer', node = 24, isCold = false, socket = '' } = machine;
  try {
    const file = join(folder, 'script');
    await writeFile(file, script);
    const env = {
      ...process.env,
      NEWCOMER_SECONDS: String(LIMIT_SECONDS - 120),
      NEWCOMER_USER: user,
      NEWCOMER_NODE: String(node),
      NEWCOMER_COLD: isCold ? '1' : '',
      NEWCOMER_SOCKET: socket,
    };
    const child = spawn(SCRIPT, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    if (code !== 0)
      throw new Error(`exit code ${code ?? 'none'}; the end of what was printed:\n${output.slice(-4000)}`);
    return output;
  } finally {
    await rm(folder, { recursive: true });
  }
}
