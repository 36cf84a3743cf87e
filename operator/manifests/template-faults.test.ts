import { describe, expect, test } from 'vitest';
import { templateFaults } from './template-faults.ts';

const pod = (spec: object): object => ({ spec });
const runtime = (fields: object): object => pod({ containers: [{ name: 'runtime', ...fields }] });

describe('what only the chart may allow', () => {
  test.each<[string, object]>([
    ['spec.containers[0].image', runtime({ image: 'x' })],
    ['spec.containers[0].command', runtime({ command: ['x'] })],
    ['spec.containers[0].args', runtime({ args: ['x'] })],
    ['spec.serviceAccountName', pod({ serviceAccountName: 'default' })],
    ['spec.serviceAccount', pod({ serviceAccount: 'default' })],
    ['spec.containers[0].name', pod({ containers: [{ name: 'proxy' }] })],
    ['spec.initContainers[0].name', pod({ initContainers: [{ name: 'runtime' }] })],
  ])('%s', (field, template) => {
    expect(templateFaults(template, { isOpen: false }).map((fault) => fault.split(': ')[0])).toEqual([field]);
    expect(templateFaults(template, { isOpen: true })).toEqual([]);
  });
});

describe('what nobody may say', () => {
  test.each<[string, object]>([
    ['spec.containers[0].env[0]', runtime({ env: [{ name: 'KUBEMBED_MODEL', value: 'org/other' }] })],
    ['spec.initContainers[0].env[0]', pod({ initContainers: [{ name: 'fetch', env: [{ name: 'KUBEMBED_MODEL' }] }] })],
    ['metadata.labels[kubembed.dev/model]', { metadata: { labels: { 'kubembed.dev/model': 'x' } } }],
    ['spec.containers[0]', runtime({ $patch: 'delete' })],
    ['spec.containers[0]', runtime({ $patch: 'replace' })],
    ['spec.containers[0]', pod({ containers: [{ $patch: 'replace' }] })],
    ['spec.initContainers', pod({ initContainers: null })],
    ['spec.initContainers', pod({ initContainers: { $patch: 'delete' } })],
    ['spec.$patch', pod({ $patch: 'replace' })],
    ['spec.containers', pod({ containers: 'runtime' })],
    ['spec', { spec: 1 }],
  ])('%s', (field, template) => {
    for (const isOpen of [true, false])
      expect(templateFaults(template, { isOpen }).map((fault) => fault.split(': ')[0])).toEqual([field]);
  });

  test('and what is fine', () => {
    const fine = {
      metadata: { labels: { a: 'b' } },
      spec: { hostNetwork: true, containers: [{ name: 'runtime', env: [{ name: 'A' }] }] },
    };
    for (const template of [undefined, {}, fine]) expect(templateFaults(template, { isOpen: false })).toEqual([]);
  });
});
