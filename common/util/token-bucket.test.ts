// The token bucket on credit.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fullBucket, reserve } from './token-bucket.ts';

it('never promises more than its rate', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 100 }), (gaps) => {
      const policy = { perMs: 10 / 1000, burst: 5 };
      let bucket = fullBucket(policy, 0);
      let now = 0;
      const due = gaps.map((gap) => {
        now += gap;
        const reservation = reserve(policy, bucket, now);
        bucket = reservation.bucket;
        return now + reservation.delayMs;
      });
      // In any window from one grant to another: at most burst + rate × window.
      for (const [i, from] of due.entries()) {
        for (let j = i + 1; j < due.length; j += 1) {
          expect(j - i + 1).toBeLessThanOrEqual(5 + ((due[j]! - from) / 1000) * 10 + 1);
        }
      }
    }),
  );
});
