/**
 * Cuts what a worker prints into whole lines and says for each what printed it.
 *
 * A worker writes a marker, U+0001 name U+0001, before a chunk when what prints has changed since the last one; markers are taken out
 * here and never shown. What was printed without an end of line before a marker is a line of the one before. A character may be cut
 * between two chunks, hence the decoder.
 */
import { StringDecoder } from "node:string_decoder";
import { logLineBytesMax } from "./config.ts";

const mark = "\u0001";
/** Longest name in a marker; a control character that is not followed by a name and another is the user's own. */
const nameLengthMax = 256;

export class LineSplitter {
  private readonly onLine: (source: string, text: string) => void;
  private readonly decoder = new StringDecoder("utf8");
  private source: string;
  private partial = "";

  constructor(source: string, onLine: (source: string, text: string) => void) {
    this.source = source;
    this.onLine = onLine;
  }

  push(chunk: Buffer): void {
    this.take(this.decoder.write(chunk));
  }

  /** The stream ended: what is left is a line. */
  end(): void {
    this.take(this.decoder.end());
    this.flushPartial();
  }

  private take(text: string): void {
    const data = this.partial + text;
    this.partial = "";
    if (!data.includes(mark)) return this.lines(data);
    let at = 0;
    while (at < data.length) {
      const start = data.indexOf(mark, at);
      if (start < 0) break;
      const end = data.indexOf(mark, start + 1);
      if (end < 0 && data.length - start <= nameLengthMax && !data.includes("\n", start)) {
        // The rest of the marker is on its way.
        this.lines(data.slice(at, start));
        this.partial += data.slice(start);
        return;
      }
      const name = end < 0 ? null : data.slice(start + 1, end);
      if (name === null || name.length > nameLengthMax || name.includes("\n")) {
        this.lines(data.slice(at, start + 1));
        at = start + 1;
        continue;
      }
      this.lines(data.slice(at, start));
      this.flushPartial();
      this.source = name;
      at = end + 1;
    }
    this.lines(data.slice(at));
  }

  private lines(text: string): void {
    const data = this.partial + text;
    let at = 0;
    for (let end = data.indexOf("\n"); end >= 0; end = data.indexOf("\n", at)) {
      this.line(data.slice(at, end > at && data[end - 1] === "\r" ? end - 1 : end));
      at = end + 1;
    }
    this.partial = at === 0 ? data : data.slice(at);
    if (this.partial.length > logLineBytesMax) this.flushPartial();
  }

  private line(text: string): void {
    for (let at = 0; at === 0 || at < text.length; at += logLineBytesMax)
      this.onLine(this.source, text.slice(at, at + logLineBytesMax));
  }

  private flushPartial(): void {
    const rest = this.partial;
    this.partial = "";
    if (rest !== "") this.line(rest);
  }
}
