// A peer whose windows also say how busy the card was and how much of its memory the peer holds, and whose vectors are compared once.
import type { Card } from '../card.ts';
import type { Peer } from '../runtime/peers.ts';
import { smallestCosine } from '../vectors.ts';
import type { Reference } from '../../tests/helpers/references.ts';

export interface Watch {
  readonly card: Pick<Card, 'memoryMb' | 'watch'>;
  /** Undefined: with none. */
  readonly references: readonly Reference[] | undefined;
  /** By the name of the peer. */
  readonly cosines: Record<string, number>;
}

/** Only one peer is under load at a time: what the card's memory grows by in its windows is its own. */
export const watched = (peer: Peer, { card, references, cosines }: Watch): Peer => ({
  ...peer,
  start: async (context, logFile) => {
    const beforeMb = await card.memoryMb();
    const running = await peer.start(context, logFile);
    if (running.embed !== undefined && references !== undefined) {
      cosines[peer.name] = await smallestCosine(running.embed, references);
    }
    let heldMb = (await card.memoryMb()) - beforeMb;
    return {
      ...running,
      measure: async (window) => {
        const idleMb = await card.memoryMb();
        const stop = card.watch();
        const found = await running.measure(window);
        const { busyShare, memoryMb } = stop();
        const mostMb = heldMb + Math.max(0, memoryMb - idleMb);
        heldMb += (await card.memoryMb()) - idleMb;
        return { ...found, card: { busyShare, memoryMb: mostMb } };
      },
    };
  },
});
