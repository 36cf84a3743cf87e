import { describe, expect, it } from 'vitest';
import type { EnvVar } from '../../kube/resources.ts';
import { containerEnvironment } from './kubelet.ts';

const references = {
  configMap: (name: string, key: string) => (name === 'pin' && key === 'revision' ? 'abc' : undefined),
  secret: (name: string, key: string) => (name === 'hub' && key === 'HF_TOKEN' ? 'hf_x' : undefined),
};
const resolve = (env: EnvVar[]): Record<string, string> =>
  containerEnvironment({ name: 'c', image: 'i', env }, references, { PATH: '/bin' }, { KUBEMBED_PORT: '5' });

describe('containerEnvironment', () => {
  it('resolves references, drops optional ones that are missing, and lets the machine win', () => {
    expect(
      resolve([
        { name: 'KUBEMBED_PORT', value: '8080' },
        { name: 'REV', valueFrom: { configMapKeyRef: { name: 'pin', key: 'revision', optional: true } } },
        { name: 'NONE', valueFrom: { configMapKeyRef: { name: 'gone', key: 'revision', optional: true } } },
        { name: 'HF_TOKEN', valueFrom: { secretKeyRef: { name: 'hub', key: 'HF_TOKEN' } } },
      ]),
    ).toEqual({ PATH: '/bin', KUBEMBED_PORT: '5', REV: 'abc', HF_TOKEN: 'hf_x' });
  });

  it('names a required reference that is missing', () => {
    const env = [{ name: 'X', valueFrom: { secretKeyRef: { name: 'gone', key: 'k' } } }];
    expect(() => resolve(env)).toThrow('Missing key k of Secret gone');
  });
});
