import { expect, it } from 'vitest';
import { printBytes } from './text.ts';

it.each([
  [999, '999 bytes'],
  [90_868_376, '90.9 MB'],
  [1_340_000_000, '1.3 GB'],
])('prints %d bytes as %s', (bytes, text) => expect(printBytes(bytes)).toBe(text));
