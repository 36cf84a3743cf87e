import { describe, expect, it } from 'vitest';
import { ConfigError, readLocalConfig } from './config.ts';

describe('readLocalConfig', () => {
  it('has defaults', () => {
    expect(readLocalConfig([], {})).toMatchObject({ port: 11_445, help: false });
  });

  it('prefers the command line, then EMBEDDINGS_PORT, then KUBEMBED_PORT', () => {
    const env = { EMBEDDINGS_PORT: '2', KUBEMBED_PORT: '3' };
    expect(readLocalConfig(['--port', '1'], env).port).toBe(1);
    expect(readLocalConfig([], env).port).toBe(2);
    expect(readLocalConfig([], { KUBEMBED_PORT: '3' }).port).toBe(3);
  });

  it.each([
    [['--port', 'x'], /--port.*"x"/],
    [['--port', '70000'], /--port/],
    [['--nope'], /--nope/],
  ])('refuses %j by name', (argv, message) => {
    expect(() => readLocalConfig(argv, {})).toThrow(ConfigError);
    expect(() => readLocalConfig(argv, {})).toThrow(message);
  });
});
