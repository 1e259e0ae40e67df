/** What one worker process prints: into its two log files, and as lines to whoever listens. */
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { LogLine } from "../../wire/messages.ts";
import { logBacklogBytesMax, logFileBytesMax } from "./config.ts";
import { LineSplitter } from "./line-splitter.ts";
import { RotatingFile } from "./rotating-file.ts";

/** Characters of the end of stderr kept to tell why a process died. */
const tailLength = 8 * 1024;

export interface LogSink {
  /** Takes a line. */
  take(line: LogLine): void;
  /** Bytes that wait for slow readers. Above the limit pipes are not read. */
  readonly backlogBytes: number;
  /** Calls `resume` once when the backlog has shrunk. */
  onDrained(resume: () => void): void;
}

export class WorkerOutput {
  /** Chunks seen on both streams; tells `flushLogs` whether a pipe was empty. */
  chunks = 0;
  /** The end of what it wrote to stderr. */
  stderrTail = "";
  private readonly sink: LogSink;
  private readonly pid: number;
  private readonly files: RotatingFile[] = [];
  private readonly streams: { readonly stream: Readable; readonly splitter: LineSplitter; ended: boolean }[] = [];
  private paused = false;

  constructor(logsDir: string, workerId: string, pid: number, stdout: Readable, stderr: Readable, sink: LogSink) {
    this.sink = sink;
    this.pid = pid;
    this.attach(stdout, "stdout", join(logsDir, `worker-${workerId}.out`));
    this.attach(stderr, "stderr", join(logsDir, `worker-${workerId}.err`));
  }

  /** True while output waits in the pipes because somebody is slow. */
  get isPaused(): boolean {
    return this.paused;
  }

  /** Gives out what is left, a last line without an end included, and closes the files. */
  end(): void {
    for (const entry of this.streams) this.endStream(entry);
    for (const file of this.files) file.close();
  }

  /** What was printed without an end of line becomes a line. */
  flushPartialLines(): void {
    for (const { splitter, ended } of this.streams) if (!ended) splitter.end();
  }

  flushFiles(): Promise<unknown> {
    return Promise.all(this.files.map((file) => file.flush()));
  }

  private attach(stream: Readable, name: "stdout" | "stderr", path: string): void {
    const file = new RotatingFile(path, logFileBytesMax);
    const splitter = new LineSplitter("worker", (source, text) => {
      file.write(`${text}\n`);
      this.sink.take({ source, pid: this.pid, stream: name, text });
    });
    const entry = { stream, splitter, ended: false };
    this.files.push(file);
    this.streams.push(entry);
    stream.on("data", (chunk: Buffer) => {
      this.chunks++;
      if (name === "stderr") this.stderrTail = (this.stderrTail + chunk.toString("latin1")).slice(-tailLength);
      if (entry.ended) return;
      splitter.push(chunk);
      if (file.backlogBytes + this.sink.backlogBytes > logBacklogBytesMax) this.pause(file);
    });
    stream.on("end", () => this.endStream(entry));
    stream.on("error", () => this.endStream(entry));
  }

  private pause(file: RotatingFile): void {
    if (this.paused) return;
    this.paused = true;
    for (const { stream } of this.streams) stream.pause();
    void file.flush().then(() =>
      this.sink.onDrained(() => {
        this.paused = false;
        for (const { stream } of this.streams) stream.resume();
      }),
    );
  }

  private endStream(entry: { readonly splitter: LineSplitter; ended: boolean }): void {
    if (entry.ended) return;
    entry.ended = true;
    entry.splitter.end();
  }
}
