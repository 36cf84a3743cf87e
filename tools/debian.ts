// Programs that tests take from the operating system: found, or installed by apt where this process may, or named as missing.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Program } from './suites.ts';

const run = promisify(execFile);

const PACKAGES: Readonly<Record<Program, { readonly names: readonly string[]; readonly packages: readonly string[] }>> =
  {
    chromium: {
      names: ['chromium', 'chromium-browser', 'google-chrome'],
      packages: ['chromium', 'fonts-dejavu-core'],
    },
    prometheus: { names: ['promtool'], packages: ['prometheus'] },
  };

const onPath = (name: string): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));

/** Path of the program, if it is there. */
export const find = (program: Program): string | undefined =>
  PACKAGES[program].names.map(onPath).find((path) => path !== undefined);

/**
 * Sees to it that the program is there.
 * @returns why it is not, in a list of one
 */
export async function provide(program: Program): Promise<readonly [string] | undefined> {
  if (find(program) !== undefined) return undefined;
  const { packages } = PACKAGES[program];
  const command = `apt-get install ${packages.join(' ')}`;
  if (process.getuid?.() !== 0 || onPath('apt-get') === undefined)
    return [`there is no ${program}; on Debian, root gets it by "${command}"`];
  console.log(`kubembed: installing ${packages.join(' and ')} by apt (once) …`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, maxBuffer: 1 << 26 };
  const apt = async (...args: readonly string[]): Promise<unknown> =>
    await run('apt-get', ['-y', '-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], options);
  try {
    await apt('update');
    await apt('install', '--no-install-recommends', ...packages);
  } catch (error) {
    return [
      `there is no ${program}, and "${command}" failed: ${error instanceof Error ? error.message : String(error)}`,
    ];
  }
  return find(program) === undefined ? [`"${command}" brought no ${program}`] : undefined;
}
