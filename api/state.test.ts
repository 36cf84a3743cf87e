import { describe, expect, it } from 'vitest';
import type { Condition } from './conditions.ts';
import type { EmbeddingModel } from './types.ts';
import { standingOf } from './state.ts';

type Told = readonly [type: Condition['type'], status: Condition['status'], reason: string];

const resource = (...conditions: readonly Told[]): EmbeddingModel => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name: 'one', namespace: 'default' },
  spec: { model: 'org/one' },
  status: {
    conditions: conditions.map(([type, status, reason]) => ({
      type,
      status,
      reason,
      message: `${reason}.`,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    })),
  },
});
const ACCEPTED: Told = ['Accepted', 'True', 'Accepted'];

describe('where a model stands', () => {
  it.each([
    ['new', [], 0, 'starting', 'Pending'],
    ['not listed', [['Accepted', 'False', 'NotInSupportedModels']], 0, 'refused', 'NotInSupportedModels'],
    ['serving', [ACCEPTED, ['Ready', 'True', 'Ready']], 1, 'ready', 'Ready'],
    ['serving before its conditions know', [ACCEPTED, ['Ready', 'True', 'ScaledToZero']], 1, 'ready', 'Ready'],
    ['asleep', [ACCEPTED, ['Available', 'False', 'ScaledToZero']], 0, 'asleep', 'ScaledToZero'],
    [
      'asleep but unable to come up',
      [ACCEPTED, ['Fetched', 'False', 'GatedRepository'], ['Available', 'False', 'ScaledToZero']],
      0,
      'failed',
      'GatedRepository',
    ],
    ['switched off', [ACCEPTED, ['Available', 'False', 'Stopped']], 0, 'stopped', 'Stopped'],
    [
      'fetching',
      [ACCEPTED, ['Fetched', 'False', 'Fetching'], ['Available', 'False', 'Starting']],
      0,
      'starting',
      'Fetching',
    ],
  ] as const)('%s', (...[, conditions, ready, state, reason]) => {
    expect(standingOf(resource(...(conditions as readonly Told[])), ready)).toMatchObject({ state, reason });
  });
});
