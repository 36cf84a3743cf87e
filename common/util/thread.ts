// Where a worker thread's file is: `.ts` when run as written, `.js` once compiled (the compiler leaves addresses as they are).

/** Give it `new URL('./x.ts', import.meta.url)`, so that tools which follow imports find the file. */
export function threadUrl(source: URL, own: string = import.meta.url): URL {
  return own.endsWith('.ts') ? source : new URL(source.href.replace(/\.ts$/, '.js'));
}
