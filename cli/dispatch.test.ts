import { describe, expect, it } from 'vitest';
import { CommandError, parse, UsageError } from './command.ts';
import type { CliIo, Command } from './command.ts';
import { bashScript, completionsOf, fishScript, zshScript } from './commands/completion.ts';
import { COMMANDS, dispatch } from './dispatch.ts';

function fakeIo() {
  let out = '';
  const io: CliIo = {
    write: (text) => (out += text),
    writeError: () => undefined,
    print: async (text) => void (out += text),
    input: async function* () {
      yield* [];
    },
    isTerminal: false,
    output: { isTerminal: false, colour: false, columns: () => Infinity },
    env: {},
    program: 'kubembed',
    now: () => 0,
    date: () => 0,
    random: () => 0,
    signal: new AbortController().signal,
  };
  return { io, out: () => out };
}

const run = async (...argv: string[]): Promise<{ code: number; out: string }> => {
  const { io, out } = fakeIo();
  return { code: await dispatch({ commands: COMMANDS, version: '1.2.3' }, argv, io), out: out() };
};

describe('dispatch', () => {
  it('helps at every level, and says its version', async () => {
    expect((await run()).out).toMatch(/^Usage: kubembed COMMAND/);
    expect((await run('--help')).out).toContain('completion');
    expect((await run('models', '--help')).out).toMatch(/check +Tell whether/);
    expect((await run('models', 'check', '--help')).out).toMatch(/^Usage: kubembed models check ID/);
    expect((await run('--version')).out).toBe('1.2.3\n');
  });

  it.each([
    [['stats'], 'Did you mean status?'],
    [['models', 'chekc'], 'Did you mean check?'],
    [['embed', '--modle', 'x'], 'There is no option --modle. Did you mean --model?'],
    [['status', '--jsn'], 'Did you mean --json?'],
    [['status', '-n', 'x'], 'add --cluster'],
    [['completion', 'bas'], 'Did you mean bash?'],
    [['models', 'check'], 'give a Hugging Face id'],
    [['models', 'check', 'a/b', '--device', 'tpu'], '--device: expected one of cpu, gpu, got "tpu"'],
    [['constructor'], 'There is no command "constructor"'],
  ])('%j is told what was meant', async (argv, message) => {
    await expect(run(...argv)).rejects.toThrow(message);
    await expect(run(...argv)).rejects.toThrow(UsageError);
  });

  it('takes what follows -- as data', () => {
    expect(parse(['--', '--help', '-x'], { json: { type: 'boolean' } }).positionals).toEqual(['--help', '-x']);
  });

  it('passes errors of commands on', async () => {
    const failing: Command = {
      summary: '',
      usage: '',
      options: {},
      run: () => Promise.reject(new CommandError('no luck', 'GatedRepository')),
    };
    const { io } = fakeIo();
    await expect(dispatch({ commands: { failing }, version: '' }, ['failing'], io)).rejects.toMatchObject({
      message: 'no luck',
      reason: 'GatedRepository',
    });
  });
});

describe('completion', () => {
  it('offers every command and every option in every shell', () => {
    const completions = completionsOf(COMMANDS);
    const paths = completions.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['', 'status', 'models', 'models check', 'completion']));
    for (const script of [bashScript, zshScript, fishScript].map((make) => make(completions))) {
      for (const { options, words } of completions) {
        for (const { name } of options) expect(script).toContain(name);
        for (const { word } of words) expect(script).toContain(word);
      }
    }
  });

  it('knows every option that its help names, and the other way round', async () => {
    for (const { path, options } of completionsOf(COMMANDS)) {
      if (path === '' || path === 'models') continue;
      const { out } = await run(...path.split(' '), '--help');
      const named = new Set([...out.matchAll(/--([a-z][a-z-]*)/g)].map(([, name]) => name));
      const known = options.map(({ name }) => name).filter((name) => name !== 'help' && name !== 'all-namespaces');
      expect([...named].sort(), path).toEqual(
        expect.arrayContaining(known.filter((name) => name !== 'namespace').sort()),
      );
    }
  });
});
