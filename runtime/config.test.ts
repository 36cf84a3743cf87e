import { describe, expect, it } from 'vitest';
import { ConfigError } from '../common/util/env.ts';
import { readRuntimeConfig } from './config.ts';

const MODEL = { KUBEMBED_MODEL: 'org/model' };

describe('readRuntimeConfig', () => {
  it('has a default for everything but the model', () => {
    expect(readRuntimeConfig(MODEL, '/home/user')).toEqual({
      model: 'org/model',
      revision: 'main',
      store: '/home/user/.cache/huggingface/hub',
      hub: expect.objectContaining({ offline: false, tokenFile: '/home/user/.cache/huggingface/token' }) as object,
      host: '::',
      port: 8080,
      device: 'cpu',
      precision: 'float32',
      pooling: 'mean',
      prompts: {},
      overlongInput: 'truncate',
      maxQueueTokens: 1_048_576,
      maxBodyBytes: 33_554_432,
      maxConnections: 4096,
      drainMs: 25_000,
      logLevel: 'info',
      terminationLog: '/dev/termination-log',
    });
  });

  it('computes in half precision on a GPU unless told otherwise', () => {
    expect(readRuntimeConfig({ ...MODEL, KUBEMBED_DEVICE: 'gpu' }).precision).toBe('float16');
    expect(readRuntimeConfig({ ...MODEL, KUBEMBED_DEVICE: 'gpu', KUBEMBED_PRECISION: 'float32' }).precision).toBe(
      'float32',
    );
  });

  it('takes a number of front threads, and leaves it open otherwise', () => {
    expect(readRuntimeConfig(MODEL).frontThreads).toBeUndefined();
    expect(readRuntimeConfig({ ...MODEL, KUBEMBED_FRONT_THREADS: '2' }).frontThreads).toBe(2);
    for (const wrong of ['0', '65', '1.5', 'two'])
      expect(() => readRuntimeConfig({ ...MODEL, KUBEMBED_FRONT_THREADS: wrong })).toThrow(/KUBEMBED_FRONT_THREADS/);
  });

  it.each([
    ['cpu', 'float16', /^KUBEMBED_PRECISION: precision float16 needs device gpu$/],
    ['gpu', 'int8', /^KUBEMBED_PRECISION: precision int8 needs device cpu$/],
    ['gpu', 'bfloat16', /^KUBEMBED_PRECISION: .*float32.*float16.*int8/],
  ])('refuses on %s the precision %s in words', (device, precision, message) => {
    const env = { ...MODEL, KUBEMBED_DEVICE: device, KUBEMBED_PRECISION: precision };
    expect(() => readRuntimeConfig(env)).toThrow(message);
  });

  it('reads the variables of Hugging Face tools', () => {
    const config = readRuntimeConfig({
      ...MODEL,
      HF_HOME: '/hf',
      HF_ENDPOINT: 'http://hub',
      HF_TOKEN: 't',
      HF_HUB_OFFLINE: '1',
    });
    expect(config.store).toBe('/hf/hub');
    expect(config.hub).toMatchObject({ endpoint: 'http://hub', token: { value: 't' }, offline: true });
  });

  it('takes an empty value for none, as pod templates write it', () => {
    expect(readRuntimeConfig({ ...MODEL, KUBEMBED_RESOLVED_REVISION: '', KUBEMBED_THREADS: '' })).toEqual(
      readRuntimeConfig(MODEL),
    );
  });

  it('reads prompts by served name', () => {
    const text = JSON.stringify({ 'e5-query': 'query: ' });
    expect(readRuntimeConfig({ ...MODEL, KUBEMBED_PROMPTS: text }).prompts).toEqual({ 'e5-query': 'query: ' });
    for (const wrong of ['query', '["a"]', '{"a":1}'])
      expect(() => readRuntimeConfig({ ...MODEL, KUBEMBED_PROMPTS: wrong })).toThrow(/KUBEMBED_PROMPTS: must be/);
  });

  it('names every fault at once', () => {
    const read = () => readRuntimeConfig({ KUBEMBED_PORT: 'x', KUBEMBED_TREADS: '1', KUBEMBED_POOLING: 'median' });
    expect(read).toThrow(ConfigError);
    for (const name of ['KUBEMBED_MODEL', 'KUBEMBED_PORT', 'KUBEMBED_TREADS: unknown', 'KUBEMBED_POOLING'])
      expect(read).toThrow(name);
  });

  it('does not mistake the variables of a Service called kubembed for its own', () => {
    const links = {
      KUBEMBED_SERVICE_HOST: '10.0.0.1',
      KUBEMBED_SERVICE_PORT_HTTP: '80',
      KUBEMBED_PORT_80_TCP_ADDR: '10.0.0.1',
      KUBEMBED_ROUTER_PORT: 'tcp://10.0.0.1:80',
    };
    expect(readRuntimeConfig({ ...MODEL, ...links })).toEqual(readRuntimeConfig(MODEL));
  });
});
