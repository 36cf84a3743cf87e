import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { ConfigError, flag, port, readEnvironment, seconds, whole } from './env.ts';

const schema = z.object({
  KUBEMBED_MODEL: z.string(),
  KUBEMBED_PORT: port.default(8080),
  KUBEMBED_THREADS: whole(1, 8).optional(),
  KUBEMBED_DRAIN_SECONDS: seconds(0, 60).default(25_000),
  HF_HUB_OFFLINE: flag.default(false),
});
const read = (env: Readonly<Record<string, string | undefined>>) =>
  readEnvironment(schema, { KUBEMBED_MODEL: 'm', ...env });
const defaults = { KUBEMBED_MODEL: 'm', KUBEMBED_PORT: 8080, KUBEMBED_DRAIN_SECONDS: 25_000, HF_HUB_OFFLINE: false };

describe('readEnvironment', () => {
  it('takes an empty value for none, as pod templates write it', () => {
    expect(read({})).toEqual(defaults);
    expect(read({ KUBEMBED_PORT: '', KUBEMBED_THREADS: '', HF_HUB_OFFLINE: '' })).toEqual(defaults);
  });

  it.each([
    ['1', true],
    ['TRUE', true],
    ['yes', true],
    ['on', true],
    ['0', false],
    ['false', false],
    ['No', false],
    ['off', false],
  ])('reads %s as %s', (HF_HUB_OFFLINE, value) => {
    expect(read({ HF_HUB_OFFLINE })).toEqual({ ...defaults, HF_HUB_OFFLINE: value });
  });

  it('reads numbers, and seconds as milliseconds', () => {
    expect(read({ KUBEMBED_PORT: '0', KUBEMBED_THREADS: '8', KUBEMBED_DRAIN_SECONDS: '0.5' })).toEqual({
      ...defaults,
      KUBEMBED_PORT: 0,
      KUBEMBED_THREADS: 8,
      KUBEMBED_DRAIN_SECONDS: 500,
    });
  });

  it.each([
    ['KUBEMBED_PORT', '65536'],
    ['KUBEMBED_PORT', 'http'],
    ['KUBEMBED_THREADS', '0'],
    ['KUBEMBED_THREADS', '1.5'],
    ['KUBEMBED_DRAIN_SECONDS', '61'],
    ['KUBEMBED_DRAIN_SECONDS', 'soon'],
    ['HF_HUB_OFFLINE', 'maybe'],
  ])('refuses %s=%s', (name, value) => {
    expect(() => read({ [name]: value })).toThrow(ConfigError);
    expect(() => read({ [name]: value })).toThrow(new RegExp(`^${name}: `));
  });

  it('names every fault at once, a line each', () => {
    const faulty = () => readEnvironment(schema, { KUBEMBED_PORT: 'x', KUBEMBED_TREADS: '1' });
    expect(faulty).toThrow(/^KUBEMBED_TREADS: unknown variable\nKUBEMBED_MODEL: .+\nKUBEMBED_PORT: .+$/);
  });

  it('does not mistake the variables of a Service called kubembed for its own', () => {
    const links = {
      KUBEMBED_SERVICE_HOST: '10.0.0.1',
      KUBEMBED_SERVICE_PORT_HTTP: '80',
      KUBEMBED_PORT: 'tcp://10.0.0.1:80',
      KUBEMBED_PORT_80_TCP_ADDR: '10.0.0.1',
      KUBEMBED_ROUTER_PORT: 'tcp://10.0.0.1:80',
    };
    expect(read(links)).toEqual(defaults);
  });
});
