import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, COMMANDS } from './docs-blocks.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Pages of which somebody runs every command. */
const RUN = ['README.md', 'docs/quickstart.md', 'docs/quickstart-kind.md', 'docs/install.md'];

describe('blocksOf', () => {
  it('reads language, runner, place and code, in lists too', () => {
    const page = 'a\n\n```sh run=here\nb\n  c\n```\n\n- d\n\n  ```python run=cluster\n  e\n  ```\n';
    expect(blocksOf(page, 'p.md')).toEqual([
      { at: 'p.md:4', language: 'sh', run: 'here', code: 'b\n  c' },
      { at: 'p.md:11', language: 'python', run: 'cluster', code: 'e' },
    ]);
  });

  it.each([
    ['a runner that does not exist', '```sh run=nobody\na\n```\n', /p\.md:2: nobody runs "run=nobody"/],
    ['a block that is not closed', 'a\n```sh\nb\n', /p\.md:3: the block is not closed/],
  ])('refuses %s', (_, page, message) => {
    expect(() => blocksOf(page, 'p.md')).toThrow(message);
  });
});

describe('what people are told to type', () => {
  it.each(RUN)('in %s is run by somebody', (page) => {
    const commands = blocksOf(read(page), page).filter(({ language }) => COMMANDS.has(language));
    expect(commands.length).toBeGreaterThan(0);
    expect(commands.filter(({ run }) => run === undefined).map(({ at }) => at)).toEqual([]);
  });

  it.each(RUN)('in %s is marked as commands: no block goes without a language', (page) => {
    const unknown = blocksOf(read(page), page).filter(
      ({ language }) => !COMMANDS.has(language) && !['text', 'yaml', 'json'].includes(language),
    );
    expect(unknown.map(({ at }) => at)).toEqual([]);
  });

  it('on the home page is what the README says, which is run', () => {
    const readme = blocksOf(read('README.md'), 'README.md').map(({ code }) => code);
    const home = blocksOf(read('docs/index.md'), 'docs/index.md').map(({ code }) => code);
    expect(home).toHaveLength(2);
    expect(home.filter((code) => !readme.includes(code))).toEqual([]);
  });

  it('to be run by CI is a line of what CI runs', () => {
    const ci = read('.ci/run').split('\n');
    const lines = RUN.flatMap((page) => blocksOf(read(page), page))
      .filter(({ run }) => run === 'ci')
      .flatMap(({ code }) => code.split('\n'));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.filter((line) => !ci.some((own) => own.startsWith(line)))).toEqual([]);
  });

  it.each([
    ['e2e/newcomer.test.ts', ['here', 'server']],
    ['e2e/newcomer-machines.test.ts', ['here', 'server', 'proxy']],
    ['e2e/walkthrough.test.ts', ['cluster', 'cluster-server']],
    ['tools/clients.test.ts', ['client']],
  ])('has %s for its runners', (name, runners) => {
    const test = read(join('tests', name));
    expect(runners.filter((runner) => !test.includes(`'${runner}'`))).toEqual([]);
  });
});
