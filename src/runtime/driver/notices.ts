/** What the daemon sends for people: lines that workers printed, folded, and warnings. */
import { clearTimeout, performance, setTimeout } from "../../base/clock.ts";
import { type FoldedLine, formatLogLine, LogFolder } from "../../core/log-fold.ts";
import { Kind } from "../../wire/index.ts";
import type { FromDaemon } from "../../wire/messages.ts";
import type { Runtime } from "../owner/runtime.ts";

export class Notices {
  private readonly print: boolean;
  private readonly folder = new LogFolder(process.env.SHOAL_DEDUP_LOGS !== "0");
  private timer: NodeJS.Timeout | null = null;

  constructor(runtime: Runtime) {
    this.print = runtime.config.logToDriver;
    runtime.onNotice = (message) => this.take(message);
  }

  private take(message: FromDaemon): void {
    if (message[0] === Kind.Warning) process.stderr.write(`shoal: ${message[1]}\n`);
    else if (message[0] === Kind.Log && this.print) this.show(this.folder.push(performance.now(), message[1]));
  }

  private show(lines: readonly FoldedLine[]): void {
    for (const folded of lines) {
      const stream = folded.line.stream === "stderr" ? process.stderr : process.stdout;
      stream.write(`${formatLogLine(folded, stream.isTTY)}\n`);
    }
    this.planWake();
  }

  private planWake(): void {
    const wakeMs = this.folder.nextWakeMs();
    if (wakeMs === null || this.timer !== null) return;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.show(this.folder.due(performance.now()));
      },
      Math.max(1, wakeMs - performance.now()),
    );
    this.timer.unref();
  }

  /** Prints what was held back for folding. */
  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.show(this.folder.due(Number.POSITIVE_INFINITY));
    if (this.timer !== null) clearTimeout(this.timer);
  }
}
