// Why local mode could not start, in words, where the machine says it in a code. Pure.

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
}

type Words = (place: Place) => string;

const LISTENING: Readonly<Record<string, Words>> = {
  EADDRINUSE: ({ host, port }) =>
    `Port ${port} of ${host} is taken, perhaps by another kubembed. End that, or give another port with --port.`,
  EACCES: ({ port }) => `Port ${port} is not yours to listen on: ports below 1024 take root. Give another with --port.`,
  EADDRNOTAVAIL: ({ host }) => `${host} is no address of this machine. Give one with --host; 0.0.0.0 stands for all.`,
  ENOTFOUND: ({ host }) => `There is no host "${host}". Give an address of this machine with --host.`,
};

const unwritable: Words = ({ dataDir }) => `${dataDir} cannot be written. Give another folder with --data.`;
const noFolder: Words = ({ dataDir }) => `${dataDir} is a file. Give a folder with --data.`;

const MAKING: Readonly<Record<string, Words>> = {
  EACCES: unwritable,
  EPERM: unwritable,
  EROFS: unwritable,
  ENOENT: unwritable,
  EEXIST: noFolder,
  ENOTDIR: noFolder,
};

const BY_CALL: Readonly<Record<string, Readonly<Record<string, Words>>>> = {
  listen: LISTENING,
  getaddrinfo: LISTENING,
  mkdir: MAKING,
};

/** Undefined for what is a fault of kubembed's own. */
export function explainStart(error: unknown, place: Place): string | undefined {
  const { code = '', syscall = '' } = error as NodeJS.ErrnoException;
  return BY_CALL[syscall]?.[code]?.(place);
}
