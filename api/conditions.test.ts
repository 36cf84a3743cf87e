import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { REASONS, blockedBy, isReason, reasonInfo, standingOf } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { EmbeddingModel } from './types.ts';

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

describe('the table of reasons', () => {
  const failing = (reason: string): readonly Condition[] =>
    (['Available', 'Ready'] as const).map((type) => ({
      type,
      status: 'False',
      reason,
      message: `${reason}.`,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    }));
  const reasons = Object.keys(REASONS).filter(isReason);

  it('holds no request for what stands until it is tried again', () => {
    const held = reasons.filter(
      (reason) => reasonInfo(reason).lasting && blockedBy(failing(reason))?.reason !== reason,
    );
    expect(held).toEqual([]);
    expect(blockedBy(failing('StorageLimitExceeded'))).toEqual({
      reason: 'StorageLimitExceeded',
      message: 'StorageLimitExceeded.',
    });
  });

  it('lets requests wait for what a cluster adds by itself, and for nothing else that is worth a warning', () => {
    const waiting = reasons.filter((reason) => reasonInfo(reason).event === 'Warning' && !blockedBy(failing(reason)));
    expect(waiting.toSorted()).toEqual([
      'ChangeRefused',
      'ClaimPending',
      'Contested',
      'NameTaken',
      'NotInSupportedModels',
      'PodSetupFailed',
      'PoolingDiffers',
      'RemovedFromList',
      'Unschedulable',
      'VolumeUnavailable',
      'WeightsMissing',
    ]);
  });

  it('has a section on the troubleshooting page for every reason, and for nothing else', async () => {
    const page = await readFile(new URL('../docs/troubleshooting.md', import.meta.url), 'utf8');
    const sections = [...page.matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
    expect(sections.toSorted()).toEqual(Object.keys(REASONS).toSorted());
  });
});
