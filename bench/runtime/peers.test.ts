import { expect, it } from 'vitest';
import { teiPeer } from './peers.ts';

it('knows whether the executable of another server is there', () => {
  expect(teiPeer(process.execPath).missing('')).toBeUndefined();
  expect(teiPeer('/nowhere/text-embeddings-router').missing('')).toContain('/nowhere/text-embeddings-router');
});
