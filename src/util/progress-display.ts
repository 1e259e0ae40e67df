/**
 * Draws the bars of one process. On a terminal: one line a bar, redrawn in place at most ten times a second. Elsewhere (a file, a pipe, a
 * worker's log): a plain line now and then while there is something new to tell, and the last state.
 */
import { clearTimeout, performance, setTimeout } from "../base/clock.ts";

export interface BarState {
  readonly label: string;
  /** Undefined when nobody knows. */
  readonly total: number | undefined;
  readonly startMs: number;
  done: number;
  closed: boolean;
}

/** Where bars are drawn; `process.stderr` fits. */
export interface DisplayTarget {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const redrawMs = 100;
const plainLineMs = 5_000;
const barCells = 24;

export class ProgressDisplay {
  private readonly target: DisplayTarget;
  private readonly now: () => number;
  /** In the order of their making; a bar leaves when it is closed. */
  private readonly bars: BarState[] = [];
  private linesDrawn = 0;
  private drawnMs = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | null = null;
  /** Plain output: when a bar last had a line. */
  private readonly toldMs = new WeakMap<BarState, number>();

  constructor(target: DisplayTarget, now: () => number = () => performance.now()) {
    this.target = target;
    this.now = now;
  }

  add(label: string, total: number | undefined): BarState {
    const bar: BarState = { label, total, startMs: this.now(), done: 0, closed: false };
    this.bars.push(bar);
    this.toldMs.set(bar, bar.startMs);
    this.changed();
    return bar;
  }

  /** Draws now or soon. To be called after every change of a bar. */
  changed(): void {
    if (this.timer !== null) return;
    const interval = this.target.isTTY === true ? redrawMs : plainLineMs;
    const dueMs = this.drawnMs + interval - this.now();
    if (dueMs <= 0) {
      this.draw();
      return;
    }
    this.timer = setTimeout(() => this.draw(), dueMs);
    this.timer.unref();
  }

  close(bar: BarState): void {
    if (bar.closed) return;
    bar.closed = true;
    if (this.target.isTTY === true) {
      this.erase();
      this.bars.splice(this.bars.indexOf(bar), 1);
      this.target.write(`${describe(bar, this.now(), this.columns())}\n`);
      this.draw();
    } else {
      this.bars.splice(this.bars.indexOf(bar), 1);
      this.target.write(`${describe(bar, this.now(), this.columns())}\n`);
    }
  }

  private draw(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.drawnMs = this.now();
    if (this.target.isTTY === true) this.drawInPlace();
    else this.tell();
  }

  private drawInPlace(): void {
    if (this.bars.length === 0) return;
    const up = this.linesDrawn > 1 ? `\x1b[${this.linesDrawn - 1}A` : "";
    const lines = this.bars.map((bar) => `\x1b[2K${describe(bar, this.drawnMs, this.columns())}`);
    this.target.write(`\r${up}${lines.join("\n")}`);
    this.linesDrawn = lines.length;
  }

  private erase(): void {
    if (this.linesDrawn === 0) return;
    const up = this.linesDrawn > 1 ? `\x1b[${this.linesDrawn - 1}A` : "";
    this.target.write(`\r${up}\x1b[J`);
    this.linesDrawn = 0;
  }

  private tell(): void {
    for (const bar of this.bars) {
      if (bar.done === 0 || this.drawnMs - (this.toldMs.get(bar) as number) < plainLineMs) continue;
      this.toldMs.set(bar, this.drawnMs);
      this.target.write(`${describe(bar, this.drawnMs, this.columns())}\n`);
    }
  }

  private columns(): number {
    return this.target.columns ?? 100;
  }
}

/** One line: `words  [=====     ]  45 %  345/767  230/s  1.8 s left`. */
export function describe(bar: BarState, nowMs: number, columns: number): string {
  const seconds = Math.max(0, nowMs - bar.startMs) / 1000;
  const rate = seconds > 0 ? bar.done / seconds : 0;
  const parts = [bar.label, ...amount(bar), `${short(rate)}/s`];
  if (bar.closed) parts.push(`in ${duration(seconds)}`);
  else if (bar.total !== undefined && rate > 0 && bar.total > bar.done)
    parts.push(`${duration((bar.total - bar.done) / rate)} left`);
  // One cell is left free, as a full line wraps on some terminals.
  return parts.join("  ").slice(0, Math.max(1, columns - 1));
}

function amount({ done, total }: BarState): string[] {
  if (total === undefined) return [String(done)];
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const full = Math.round(share * barCells);
  return [
    `[${"=".repeat(full)}${" ".repeat(barCells - full)}]`,
    `${String(Math.floor(share * 100)).padStart(3)} %`,
    `${done}/${total}`,
  ];
}

function short(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(2);
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
