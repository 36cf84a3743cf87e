// Numbers of a bench's command line, refused by the name of their option. Pure.

type Values = Readonly<Record<string, string | boolean | undefined>>;

interface Wanted {
  /** Where the option is not given. */
  readonly otherwise: number;
  readonly atLeast: number;
  readonly whole?: boolean;
}

/** @param values as `parseArgs` reads them, strings */
export function numberOf(values: Values, option: string, { otherwise, atLeast, whole = false }: Wanted): number {
  const given = values[option];
  if (given === undefined) return otherwise;
  const read = Number(given);
  if (given !== '' && Number.isFinite(read) && read >= atLeast && (!whole || Number.isInteger(read))) return read;
  throw new RangeError(`--${option}: ${String(given)} is not a ${whole ? 'whole ' : ''}number from ${atLeast}`);
}
