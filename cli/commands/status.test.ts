import { describe, expect, it } from 'vitest';
import { painter } from '../terminal.ts';
import { renderModel, renderTable } from './status.ts';
import type { ModelRow } from '../status-view.ts';

const condition = { type: 'Ready', status: 'True', reason: 'Ready', message: 'Requests are answered.' } as const;
const row: ModelRow = {
  model: 'org/one',
  resource: 'default/one',
  device: 'cpu',
  state: 'ready',
  reason: 'Ready',
  message: 'Requests are answered.',
  pooling: undefined,
  ready: 2,
  wanted: 3,
  ageSeconds: 7200,
  conditions: [condition],
  load: undefined,
};
const failed: ModelRow = {
  ...row,
  model: 'org/two',
  state: 'failed',
  reason: 'GatedRepository',
  message: 'Gated.',
  ready: 0,
};
const plain = { paint: painter(false), width: Infinity };

describe('status', () => {
  it('shows a cluster in the columns of kubectl', () => {
    const text = renderTable({ source: 's', kind: 'cluster', models: [row, failed] }, plain);
    expect(text.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['MODEL', 'DEVICE', 'READY', 'REPLICAS', 'AGE', 'REASON'],
      ['org/one', 'cpu', 'True', '2/3', '2h', 'Ready'],
      ['org/two', 'cpu', 'True', '0/3', '2h', 'GatedRepository: Gated.'],
      [''],
    ]);
  });

  it('shows rates where the router tells them', () => {
    const load = {
      requestsPerSecond: 3.25,
      tokensPerSecond: 120,
      latencyMs: { p50: 4, p95: 1500 },
      queued: 0,
      inFlight: 1,
    };
    const view = { source: 's', kind: 'router' as const, models: [{ ...row, load }] };
    expect(renderTable(view, plain)).toMatch(/org\/one +ready +2\/3 +3\.3 +120 +4\.0ms +1\.5s +Ready\n/);
    expect(renderTable({ ...view, models: [row] }, plain)).not.toContain('REQ/S');
    expect(renderTable({ ...view, models: [] }, plain)).toBe('No models at s.\n');
  });

  it('shows a pooling that is not the one of the repository', () => {
    const differs = { ...row, pooling: 'mean (repository declares cls)' };
    const table = renderTable({ source: 's', kind: 'router', models: [differs] }, plain);
    expect(table).toContain('Ready, pooling mean (repository declares cls)');
    expect(renderModel(differs, plain)).toMatch(/pooling +mean \(repository declares cls\)/);
    expect(renderModel(row, plain)).not.toContain('pooling');
  });

  it('shows one model with its conditions', () => {
    const text = renderModel(row, plain);
    expect(text).toContain('replicas  2/3 ready');
    expect(text).toMatch(/Ready +True +Ready +Requests are answered\.\n$/);
  });
});
