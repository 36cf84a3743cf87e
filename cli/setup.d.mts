// Types of setup.mjs, which is plain JavaScript.
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** undefined where there is none: musl, macOS. */
  readonly glibc: string | undefined;
}

export interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly dev?: boolean; readonly optional?: boolean }>
  >;
}

/** Megabytes. */
export interface Size {
  readonly what: string;
  readonly download: number;
  readonly disk: number;
}

export declare const SIZES: Readonly<Record<'serve' | 'development' | 'node', Size>>;
export declare function obstacle(machine: Machine): string | undefined;
export declare function missingPackages(lock: Lock, root: string, withDevelopment: boolean): string[];
export declare function network(
  env: Readonly<Record<string, string | undefined>>,
  exists?: (file: string) => boolean,
): Record<string, string>;
