import { expect, it } from 'vitest';
import { packageVersion, threadUrl } from './package.ts';

it('finds a thread beside code that runs as written, and beside compiled code', () => {
  const source = new URL('file:///app/dist/common/http/x.ts');
  expect(threadUrl(source, 'file:///app/common/util/package.ts').href).toBe('file:///app/dist/common/http/x.ts');
  expect(threadUrl(source, 'file:///app/dist/common/util/package.js').href).toBe('file:///app/dist/common/http/x.js');
});

it('knows the version of the package', () => {
  expect(packageVersion()).toMatch(/^\d+\.\d+\.\d+/);
});
