import { describe, expect, it } from 'vitest';
import { readRouterConfig } from './config.ts';

describe('readRouterConfig', () => {
  it('has defaults for everything', () => {
    expect(readRouterConfig({})).toMatchObject({
      host: '::',
      port: 8080,
      internalPort: 8081,
      requestMs: 600_000,
      split: { targetMs: 100 },
      keys: { file: undefined, secret: undefined },
      cache: { models: [] },
    });
  });

  it('takes an empty value for unset, and the address of a Service called kubembed for no port', () => {
    const config = readRouterConfig({ KUBEMBED_PORT: 'tcp://10.0.0.1:80', KUBEMBED_WATCH_NAMESPACES: '' });
    expect(config.port).toBe(8080);
    expect(config.namespaces).toEqual([]);
  });

  it('reads lists, switches and references', () => {
    const config = readRouterConfig({
      KUBEMBED_CACHE_MODELS: 'org/a, org/b',
      KUBEMBED_SPLIT: 'false',
      KUBEMBED_API_KEYS_SECRET: 'ns/keys',
    });
    expect(config.cache.models).toEqual(['org/a', 'org/b']);
    expect(config.split.targetMs).toBe(0);
    expect(config.keys).toEqual({ secret: { namespace: 'ns', name: 'keys' } });
  });

  it.each([{ KUBEMBED_PORT: '70000' }, { KUBEMBED_QUEUE_SECONDS: '-1' }, { KUBEMBED_API_KEYS_SECRET: 'keys' }])(
    'refuses %o',
    (env) => {
      expect(() => readRouterConfig(env)).toThrow();
    },
  );
});
