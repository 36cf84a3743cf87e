import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isGroup, programName, sayCommand } from './command.ts';
import { COMMANDS } from './dispatch.ts';
import { endpointFrom } from './endpoint.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

describe('programName', () => {
  it.each([
    ['/usr/local/bin/kubembed', undefined, 'kubembed'],
    ['/clone/cli/kubembed.mjs', undefined, 'npx kubembed'],
    ['/clone/node_modules/.bin/kubembed', undefined, 'npx kubembed'],
    ['/clone/node_modules/.bin/kubembed', 'exec', 'npx kubembed'],
    ['', undefined, 'npx kubembed'],
  ])('%s, npm %s: %s', (script, npmCommand, program) => {
    expect(programName({ script, path: '/usr/bin:/usr/local/bin', npmCommand, packageName: 'kubembed' })).toBe(program);
  });
});

/** What people read: comments and synopses aside, which are about the command and not for typing. */
const saidIn = (source: string): string =>
  source.replace(/^\s*(\/\/|\*|\/\*\*).*$/gm, '').replace(/usage: `[^`]*`/g, '');

const WORDS = Object.keys(COMMANDS).join('|');

describe('hints', () => {
  const files = globSync('{cli,local,router,runtime,operator,hub,api,common,kube}/**/*.ts', { cwd: ROOT }).filter(
    (file) => !file.endsWith('.test.ts'),
  );
  const said = files.map((file) => ({ file, text: saidIn(readFileSync(`${ROOT}${file}`, 'utf8')) }));

  it('name the command as the person has it', () => {
    const plain = new RegExp(`(?<!npx )\\bkubembed (${WORDS})\\b`, 'g');
    expect(said.flatMap(({ file, text }) => [...text.matchAll(plain)].map(([hint]) => `${file}: ${hint}`))).toEqual([]);
  });

  it('name commands that there are', () => {
    const hints = said.flatMap(({ text }) => [
      ...text.matchAll(/(?:\$\{SELF\}|\$\{io\.program\}|npx kubembed) ([a-z]+)(?: ([a-z]+))?/g),
    ]);
    expect(hints.length).toBeGreaterThan(4);
    for (const [hint, name = '', second] of hints) {
      const entry = COMMANDS[name];
      expect(entry, hint).toBeDefined();
      if (entry !== undefined && isGroup(entry) && second !== undefined)
        expect(Object.keys(entry.commands), hint).toContain(second);
    }
  });

  it('are said with its name', () => {
    expect(sayCommand('Start one with "{kubembed} start".', 'npx kubembed')).toBe(
      'Start one with "npx kubembed start".',
    );
  });
});

describe('endpointFrom', () => {
  const nothing = (): undefined => undefined;

  it.each([
    [{}, 'http://127.0.0.1:11445'],
    [{ EMBEDDINGS_PORT: '8000', KUBEMBED_PORT: '9000' }, 'http://127.0.0.1:8000'],
    [{ KUBEMBED_PORT: '9000' }, 'http://127.0.0.1:9000'],
    [{ EMBEDDINGS_PORT: 'tcp://10.0.0.1:80' }, 'http://127.0.0.1:11445'],
    [{ OPENAI_BASE_URL: 'https://api.example.com/v1/', EMBEDDINGS_PORT: '8000' }, 'https://api.example.com'],
    [{ KUBEMBED_ENDPOINT: 'http://a', OPENAI_BASE_URL: 'http://b' }, 'http://a'],
  ])('%j: %s', (env, url) => {
    expect(endpointFrom(nothing, env).url).toBe(url);
  });

  it('trims keys, and names those that cannot be sent', () => {
    expect(endpointFrom(nothing, { OPENAI_API_KEY: ' sk-1\n' }).key).toBe('sk-1');
    expect(endpointFrom(nothing, { OPENAI_API_KEY: '\n' }).key).toBeUndefined();
    for (const key of ['two words', 'a\nb', 'schlüssel'])
      expect(() => endpointFrom(nothing, { OPENAI_API_KEY: key })).toThrow('OPENAI_API_KEY');
  });
});
