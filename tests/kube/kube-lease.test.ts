// Two electors as real processes on a real API server: the audit log tells whether two ever wrote at a time.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { CONFIG_MAPS, LEASES } from '../../kube/resources.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';

let plane: ControlPlane;
const children: ChildProcess[] = [];
beforeAll(async () => {
  plane = await startControlPlane({ audit: true });
  const work = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default', name: 'work' } };
  await plane.admin.create(CONFIG_MAPS, work);
});
afterAll(async () => await plane.stop());

let mark = 0;
beforeEach(async () => (mark = await plane.countWrites()));
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGCONT');
    child.kill('SIGKILL');
  }
  await plane.admin.delete(LEASES, { namespace: 'default', name: 'leader' }).catch(() => undefined);
});

function start(identity: string) {
  const script = join(import.meta.dirname, '..', 'helpers', 'control-plane-elector-child.ts');
  const child = spawn(process.execPath, [script, plane.kubeconfig, identity], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const leads = async () => await expect.poll(() => output, { timeout: 40_000 }).toContain('leading');
  return { child, leads, ended, output: () => output };
}

/** Who wrote, in order, each only when it differs from the one before. */
async function writers(): Promise<string[]> {
  const writes = (await plane.writesSince(mark)).filter(({ name }) => name === 'work');
  expect(writes.every(({ code }) => code === 200)).toBe(true);
  const inOrder = [...writes].sort((a, b) => (a.at < b.at ? -1 : 1)).map(({ userAgent }) => userAgent);
  return inOrder.filter((writer, i) => writer !== inOrder[i - 1]);
}

it('a paused holder is replaced, and writes nothing when it wakes', async () => {
  const first = start('first');
  await first.leads();
  const second = start('second');
  first.child.kill('SIGUSR2');
  await second.leads();
  first.child.kill('SIGCONT');
  expect(await first.ended).toBe(1);
  // What the second writes from here on stands in the log behind all that the first ever wrote.
  const soFar = await plane.countWrites();
  const later = async () => (await plane.writesSince(soFar)).filter(({ name }) => name === 'work').length;
  await expect.poll(later, { timeout: 10_000 }).toBeGreaterThan(1);
  expect(await writers()).toEqual(['first', 'second']);
  expect(second.output()).toBe('leading\n');
});

it('a killed holder is replaced', async () => {
  const first = start('first');
  await first.leads();
  const second = start('second');
  first.child.kill('SIGKILL');
  await second.leads();
  await expect.poll(writers, { timeout: 10_000 }).toEqual(['first', 'second']);
});

it('a stopped holder hands over at once', async () => {
  const first = start('first');
  await first.leads();
  const second = start('second');
  first.child.kill('SIGTERM');
  expect([await first.ended, first.output()]).toEqual([0, 'leading\nstopped\n']);
  const { spec } = await plane.admin.get(LEASES, { namespace: 'default', name: 'leader' });
  expect(['', 'second']).toContain(spec?.holderIdentity ?? '');
  await second.leads();
  await expect.poll(writers, { timeout: 10_000 }).toEqual(['first', 'second']);
});
