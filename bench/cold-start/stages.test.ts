import { expect, it } from 'vitest';
import type { ContainerStatus, Pod } from '../../kube/resources.ts';
import { renderColdStarts, stagesOfLog, stagesOfPod } from './stages.ts';
import type { Start } from './stages.ts';

const pod = (spec: object, status: object): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'ns' },
  spec: { containers: [], ...spec },
  status,
});
const container = (name: string, state: object): ContainerStatus => ({ name, state }) as ContainerStatus;

it('reads from a pod how far it is', () => {
  expect(stagesOfPod(pod({}, {}))).toEqual(['created']);
  const status = {
    podIP: '10.0.0.1',
    initContainerStatuses: [container('fetch', { running: { startedAt: 'x' } })],
    containerStatuses: [container('runtime', { waiting: {} })],
  };
  expect(stagesOfPod(pod({ nodeName: 'n' }, status))).toEqual(['created', 'scheduled', 'address', 'fetching']);
  const later = {
    podIP: '10.0.0.1',
    initContainerStatuses: [container('fetch', { terminated: { exitCode: 0 } })],
    containerStatuses: [container('sidecar', { waiting: {} }), container('runtime', { running: {} })],
  };
  expect(stagesOfPod(pod({ nodeName: 'n' }, later)).slice(3)).toEqual(['fetching', 'fetched', 'started']);
});

it('reads from a log when the process listened and was ready', () => {
  const line = (message: string, time: string): string => JSON.stringify({ level: 'info', time, message });
  const log = ['plain words', line('Listening', '2026-01-01T00:00:00.250Z'), line('Ready', '2026-01-01T00:00:01Z')];
  expect(stagesOfLog(log.join('\n'))).toEqual({
    listening: Date.parse('2026-01-01T00:00:00.250Z'),
    ready: Date.parse('2026-01-01T00:00:01Z'),
  });
});

it('tells of each stage that was seen, and whether the goal is met', () => {
  const starts: Start[] = [
    { created: 100, started: 1000, answered: 1800, endpoint: 2500 },
    { created: 300, started: 1200, answered: 2200 },
  ];
  const goalMs = { median: 2200, p95: 2100 };
  const text = renderColdStarts([{ what: 'weights on the node', goalMs, starts, failures: ['503'] }], ['here']);
  expect(text).toContain('2 starts: median 2.00 s, p95 2.20 s (goal: median ≤ 2.20 s met, p95 ≤ 2.10 s **missed**)');
  expect(text).toContain('| pod created | 0.20 | 0.30 | 0.20 |');
  expect(text).toContain('| first answer | 2.00 | 2.20 | 0.90 |');
  expect(text).toContain('| the cluster calls it ready | 2.50 | 2.50 |  |');
  expect(text).not.toContain('fetching container');
  expect(text).toContain('Answered with an error: 503');
});
