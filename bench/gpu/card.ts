// What nvidia-smi says of the card: its name, and how busy it is meanwhile.
import { execFileSync, spawn } from 'node:child_process';

const query = (fields: string): string[] => [`--query-gpu=${fields}`, '--format=csv,noheader,nounits'];

/** Undefined where there is none. */
export function describeCard(): string | undefined {
  try {
    return execFileSync('nvidia-smi', query('name,driver_version'), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}

export interface CardUse {
  /** Mean share of time in which some kernel ran, per cent. */
  readonly busy: number;
  readonly memoryMb: number;
}

const INTERVAL_MS = 200;

/** The returned function ends it. */
export function watchCard(): () => CardUse {
  const readings: [number, number][] = [];
  const child = spawn('nvidia-smi', [...query('utilization.gpu,memory.used'), `-lms=${INTERVAL_MS}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  child.on('error', () => undefined);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    for (const line of text.trim().split('\n')) {
      const [busy, memory] = line.split(',').map(Number);
      if (busy !== undefined && memory !== undefined) readings.push([busy, memory]);
    }
  });
  return () => {
    child.kill();
    return {
      busy: readings.reduce((sum, [busy]) => sum + busy, 0) / readings.length,
      memoryMb: Math.max(0, ...readings.map(([, memory]) => memory)),
    };
  };
}
