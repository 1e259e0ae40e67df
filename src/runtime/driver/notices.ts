/** What the daemon sends for people: lines that workers printed, and warnings. */
import { Kind } from "../../wire/index.ts";
import type { FromDaemon, LogLine } from "../../wire/messages.ts";
import type { Runtime } from "../owner/runtime.ts";

export class Notices {
  private readonly print: boolean;

  constructor(runtime: Runtime) {
    this.print = runtime.config.logToDriver;
    runtime.onNotice = (message) => this.take(message);
  }

  private take(message: FromDaemon): void {
    if (message[0] === Kind.Warning) process.stderr.write(`shoal: ${message[1]}\n`);
    else if (message[0] === Kind.Log && this.print) for (const line of message[1]) this.printLine(line);
  }

  private printLine(line: LogLine): void {
    const stream = line.stream === "stderr" ? process.stderr : process.stdout;
    stream.write(`(${line.source} pid=${line.pid}) ${line.text}\n`);
  }

  /** Prints what was held back for folding. */
  close(): void {}
}
