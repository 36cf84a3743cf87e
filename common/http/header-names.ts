// Which headers of a message are of interest: their names in the case of their senders, looked up without making strings.

export type NameTable = (name: string) => string | undefined;

/** Senders write each name in one or two ways; what is beyond is somebody trying. */
const MAX_SPELLINGS = 512;

/** The lower-case name of a header that is wanted; nothing for others. */
export function createNameTable(wanted: Iterable<string>): NameTable {
  const names = new Set(wanted);
  const spellings = new Map<string, string | undefined>();
  return (name) => {
    const known = spellings.get(name);
    if (known !== undefined || spellings.has(name)) return known;
    const lower = name.toLowerCase();
    const found = names.has(lower) ? lower : undefined;
    if (spellings.size >= MAX_SPELLINGS) spellings.clear();
    // A copy: a slice would keep the whole head it is from.
    spellings.set(Buffer.from(name, 'latin1').toString('latin1'), found);
    return found;
  };
}

/** Calls `take` for each wanted header of a head whose lines are known to be `name: value` and end with CR LF. */
export function eachHeader(
  head: string,
  from: number,
  nameOf: NameTable,
  take: (name: string, value: string) => void,
): void {
  for (let at = from; at < head.length;) {
    const colon = head.indexOf(':', at);
    const end = head.indexOf('\r\n', colon);
    const name = nameOf(head.slice(at, colon));
    if (name !== undefined) take(name, head.slice(colon + 1, end).trim());
    at = end + 2;
  }
}
