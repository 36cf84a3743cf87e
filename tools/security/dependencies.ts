// What npm says about the dependencies, and what the lock file promises about where they come from. Pure.

interface LockedPackage {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly inBundle?: boolean;
  readonly dev?: boolean;
}

export interface LockFile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

/** Every package comes from the registry, with the hash it must have. */
export function lockFaults({ packages }: LockFile): string[] {
  return Object.entries(packages).flatMap(([path, { resolved, integrity, inBundle }]) => {
    if (path === '' || inBundle === true) return [];
    return [
      // Without an address it comes from the registry that npm is set to.
      ...(resolved?.startsWith('https://registry.npmjs.org/') === false ? [`${path} is from ${resolved}`] : []),
      ...(integrity?.startsWith('sha512-') === true ? [] : [`${path} has no SHA-512 hash`]),
    ];
  });
}

interface Report {
  readonly error?: { readonly code?: string; readonly summary?: string };
  readonly message?: string;
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string; readonly range: string }>>;
}

/** Reads `npm audit --json`. An audit that could not be made is no audit without findings. */
export function advisoriesIn(
  stdout: string,
  stderr: string,
): { readonly findings: readonly string[] } | { readonly notRun: string } {
  let report: Report;
  try {
    report = JSON.parse(stdout) as Report;
  } catch {
    return { notRun: stderr.trim().split('\n').at(-1) ?? 'npm audit said nothing' };
  }
  const { vulnerabilities, error, message } = report;
  if (vulnerabilities === undefined) {
    const why = [message, error?.summary].find((text) => text !== undefined && text !== '');
    return { notRun: why ?? 'npm audit gave no report' };
  }
  return {
    findings: Object.entries(vulnerabilities).map(
      ([name, { severity, range }]) => `${name} ${range}: ${severity}; see npm audit`,
    ),
  };
}
