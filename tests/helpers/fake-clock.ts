// FakeClock: time that moves only when a test says so.
import type { Clock } from '../../kube/clock.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** Lets promise chains of any sane length settle. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 4; i += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

export class FakeClock implements Clock {
  private time: number;
  private created = 0;
  private readonly timers = new Set<Timer>();

  constructor(start = Date.UTC(2026, 0, 1)) {
    this.time = start;
  }

  now = (): number => this.time;

  setTimeout = (fn: () => void, ms: number): (() => void) => {
    this.created += 1;
    const timer = { at: this.time + Math.max(0, ms), order: this.created, fn };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  };

  /** How many timers are armed. */
  pending(): number {
    return this.timers.size;
  }

  /** Milliseconds until the next timer, or undefined. */
  nextIn(): number | undefined {
    const next = this.next();
    return next && next.at - this.time;
  }

  /** Moves time forward without running anything: a process that was paused. */
  jump(ms: number): void {
    this.time += ms;
  }

  /** Moves time forward, firing what falls due in order; synchronous work only. */
  tick(ms: number): void {
    const until = this.time + ms;
    for (let timer = this.next(); timer && timer.at <= until; timer = this.next()) this.fire(timer);
    this.time = until;
  }

  /** As `tick`, and lets promises settle before, between and after. */
  async advance(ms: number): Promise<void> {
    const until = this.time + ms;
    await settle();
    for (let timer = this.next(); timer && timer.at <= until; timer = this.next()) {
      this.fire(timer);
      await settle();
    }
    this.time = until;
  }

  private fire(timer: Timer): void {
    this.timers.delete(timer);
    this.time = Math.max(this.time, timer.at);
    timer.fn();
  }

  private next(): Timer | undefined {
    return [...this.timers].sort((a, b) => a.at - b.at || a.order - b.order)[0];
  }
}
