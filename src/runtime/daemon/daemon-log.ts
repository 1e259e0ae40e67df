/** The daemon's own log: one line an event, in logs/daemon.log. */
import { join } from "node:path";
import { RotatingFile } from "./rotating-file.ts";

const daemonLogBytesMax = 16 * 1024 * 1024;

export class DaemonLog {
  private readonly file: RotatingFile;

  constructor(sessionDir: string) {
    this.file = new RotatingFile(join(sessionDir, "logs", "daemon.log"), daemonLogBytesMax);
  }

  line(text: string): void {
    this.file.write(`${new Date().toISOString()} ${text}\n`);
  }

  close(): void {
    this.file.close();
  }
}
