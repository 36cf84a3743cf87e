import { expect, it } from 'vitest';
import { proxyAddress, withoutLogin } from './route.ts';

it.each([
  ['socks5h://me:secret@proxy:1080', 'socks5h://…@proxy:1080'],
  ['http://me:sec@ret@proxy', 'http://…@proxy'],
  ['http://me:sec/ret@proxy:port', 'http://…@proxy:port'],
  ['me:secret@mirror', '…@mirror'],
  ['http://me:sec//ret@[mirror', 'http://…@[mirror'],
  ['ftp://mirror/models', 'ftp://mirror/models'],
])('%s is shown without what may be its password', (address, shown) => {
  expect(withoutLogin(address)).toBe(shown);
});

it('the address of a proxy that cannot be used is shown so', () => {
  const given = { variable: 'HTTPS_PROXY', value: 'http://me:sec/ret@proxy:port' };
  expect(() => proxyAddress(given)).toThrow('HTTPS_PROXY is "http://…@proxy:port"');
});
