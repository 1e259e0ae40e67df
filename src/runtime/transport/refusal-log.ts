/** One line for each refused connection, and a bound on lines: in a flood the rest is counted, and summed up when the window is over. */
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { refusalLinesMax, refusalWindowMs } from "../../wire/limits.ts";

export class RefusalLog {
  private readonly log: (line: string) => void;
  private readonly linesMax: number;
  private readonly windowMs: number;
  private lines = 0;
  private unsaid = 0;
  private last = "";
  private timer: NodeJS.Timeout | null = null;

  constructor(log: (line: string) => void, linesMax = refusalLinesMax, windowMs = refusalWindowMs) {
    this.log = log;
    this.linesMax = linesMax;
    this.windowMs = windowMs;
  }

  refused(from: string, reason: string): void {
    const line = `refused a connection from ${from}: ${reason}`;
    if (this.timer === null) {
      this.timer = setTimeout(() => this.close(), this.windowMs);
      this.timer.unref();
    }
    if (this.lines < this.linesMax) {
      this.lines++;
      this.log(line);
    } else {
      this.unsaid++;
      this.last = line;
    }
  }

  /** Ends the window, saying what it kept quiet about. */
  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { unsaid, last } = this;
    this.lines = 0;
    this.unsaid = 0;
    if (unsaid > 0) this.log(`${last}; and ${unsaid - 1} more in ${this.windowMs / 1000} s`);
  }
}
