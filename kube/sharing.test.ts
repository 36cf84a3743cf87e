// Sharing: what is given back says the same, and equal parts are one.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createSharing } from './sharing.ts';

const podOf = (name: string) => ({
  metadata: { name, labels: { app: 'a' } },
  spec: { containers: [{ name: 'c', image: 'i' }], nodeName: name },
});

describe('share', () => {
  test('keeps equal parts once, however deep they lie in what differs', () => {
    const { share } = createSharing();
    const [a, b] = [share(podOf('a')), share(podOf('b'))];
    expect([a, b]).toEqual([podOf('a'), podOf('b')]);
    expect(a.metadata.labels).toBe(b.metadata.labels);
    expect(a.spec.containers).toBe(b.spec.containers);
    expect(a.spec).not.toBe(b.spec);
  });

  test('says the same whatever comes, and however little is remembered', () => {
    const objects = fc.array(fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.jsonValue()), { maxLength: 20 });
    fc.assert(
      fc.property(objects, fc.integer({ min: 1, max: 3 }), (given, maxParts) => {
        const { share } = createSharing(maxParts);
        expect(JSON.stringify(given.map((one) => share(one)))).toBe(JSON.stringify(given));
      }),
    );
  });

  test('looks at each value once, however deep it lies', () => {
    let looks = 0;
    const leaf = {
      get value() {
        looks += 1;
        return 1;
      },
    };
    const { share } = createSharing();
    share({ a: { b: { c: { d: [leaf] } } } });
    expect(looks).toBe(1);
  });

  test('forgets what was not seen for long', () => {
    const { share } = createSharing(2);
    const first = share({ labels: { app: 'a' } }).labels;
    for (const app of ['b', 'c', 'd', 'e', 'f']) share({ labels: { app } });
    expect(share({ labels: { app: 'a' } }).labels).not.toBe(first);
    expect(share({ labels: { app: 'f' } }).labels).toBe(share({ labels: { app: 'f' } }).labels);
  });
});
