import { describe, expect, it } from 'vitest';
import type { Pod, Service } from '../../kube/resources.ts';
import { desiredSlices } from './endpoints-plan.ts';

const service = (name: string, selector?: Record<string, string>): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'ns', labels: { 'kubembed.dev/model': name } },
  spec: { ...(selector ? { selector } : {}), ports: [{ name: 'http', port: 80 }] },
});

const pod = (
  name: string,
  options: { port?: string; ready?: boolean; terminating?: boolean; namespace?: string },
): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: options.namespace ?? 'ns',
    uid: `uid-${name}`,
    labels: { app: 'x' },
    annotations: options.port === undefined ? {} : { 'local.kubembed.dev/port': options.port },
    ...(options.terminating ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
  },
  spec: { containers: [] },
  status: { conditions: [{ type: 'Ready', status: options.ready ? 'True' : 'False' }] },
});

describe('desiredSlices', () => {
  it('makes one slice per pod, with the labels of the Service and the port of the process', () => {
    const [slice] = desiredSlices([service('s', { app: 'x' })], [pod('p', { port: '9001', ready: true })]);
    expect(slice).toMatchObject({
      metadata: { name: 's-p', labels: { 'kubembed.dev/model': 's', 'kubernetes.io/service-name': 's' } },
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true, terminating: false } }],
      ports: [{ name: 'http', port: 9001 }],
    });
  });

  it('keeps a terminating pod, not ready', () => {
    const slices = desiredSlices(
      [service('s', { app: 'x' })],
      [pod('p', { port: '1', ready: true, terminating: true })],
    );
    expect(slices[0]?.endpoints?.[0]?.conditions).toEqual({ ready: false, serving: true, terminating: true });
  });

  it('leaves out pods without a port, of other labels and of other namespaces', () => {
    const pods = [pod('a', { ready: true }), pod('b', { port: '1', namespace: 'other' })];
    expect(desiredSlices([service('s', { app: 'x' }), service('t')], pods)).toEqual([]);
    expect(desiredSlices([service('s', { app: 'y' })], [pod('c', { port: '1' })])).toEqual([]);
  });
});
