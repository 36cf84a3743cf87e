import { expect, it } from 'vitest';
import { threadUrl } from './thread.ts';
import { packageVersion } from './version.ts';

it('finds a thread beside code that runs as written, and beside compiled code', () => {
  const source = new URL('file:///app/dist/common/http/x.ts');
  expect(threadUrl(source, 'file:///app/common/util/thread.ts').href).toBe('file:///app/dist/common/http/x.ts');
  expect(threadUrl(source, 'file:///app/dist/common/util/thread.js').href).toBe('file:///app/dist/common/http/x.js');
});

it('knows the version of the package', () => {
  expect(packageVersion()).toMatch(/^\d+\.\d+\.\d+/);
});
