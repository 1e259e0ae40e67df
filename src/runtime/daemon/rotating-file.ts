/**
 * A log file that cannot grow without bound: at its limit it becomes `<path>.1`, whose former content goes, and starts anew. Writes are
 * buffered by the stream and never block the event loop; a disk that fails costs the log, not the process.
 */
import { createWriteStream, renameSync, type WriteStream } from "node:fs";

export class RotatingFile {
  private readonly path: string;
  private readonly bytesMax: number;
  private stream: WriteStream | null = null;
  private written = 0;
  private broken = false;
  private closed = false;

  constructor(path: string, bytesMax: number) {
    this.path = path;
    this.bytesMax = bytesMax;
  }

  /** Appends `text`, which should be whole lines. The file is made at the first write. */
  write(text: string): void {
    if (this.broken || this.closed) return;
    const bytes = Buffer.byteLength(text);
    if (this.written + bytes > this.bytesMax && this.written > 0) this.rotate();
    this.written += bytes;
    this.stream ??= this.open();
    this.stream.write(text);
  }

  /** Bytes handed over and not on their way to disk yet. */
  get backlogBytes(): number {
    return this.stream?.writableLength ?? 0;
  }

  /** Resolves when what was written is with the system. */
  flush(): Promise<void> {
    const stream = this.stream;
    if (stream === null || this.broken || stream.writableLength === 0) return Promise.resolve();
    return new Promise((resolve) => {
      stream.write("", () => resolve());
    });
  }

  close(): void {
    this.closed = true;
    this.stream?.end();
    this.stream = null;
  }

  private rotate(): void {
    this.stream?.end();
    this.stream = null;
    this.written = 0;
    try {
      renameSync(this.path, `${this.path}.1`);
    } catch {
      // The file was removed by somebody; the next write makes a new one.
    }
  }

  private open(): WriteStream {
    const stream = createWriteStream(this.path, { flags: "a", mode: 0o600 });
    stream.on("error", () => {
      this.broken = true;
    });
    return stream;
  }
}
