// Where a worker thread's file is: `.ts` when run as written, `.js` once bundled (the bundler leaves addresses as they are).

/** Give it `new URL('./x.ts', import.meta.url)`, so that the bundler and tools which follow imports find the file. */
export function threadUrl(source: URL, own: string = import.meta.url): URL {
  return own.endsWith('.ts') ? source : new URL(source.href.replace(/\.ts$/, '.js'));
}
