/**
 * Folds what workers print for the driver's terminal: a line that several workers print alike is shown once, and a few seconds later
 * how often it came again. Without it one warning in a function is as many lines as there are workers.
 *
 * Only lines from another process than the first are folded: a loop that prints the same line in one task is that task's own doing.
 * Lines must be identical. Ray also folds lines that differ in numbers only, and so swallows what tasks say about their own inputs.
 * Pure: time comes in as an argument, lines go out as a list.
 */
import type { LogLine } from "../wire/messages.ts";

/** Milliseconds for which a line is remembered. */
export const foldWindowMs = 5_000;
/** Different lines remembered at once. Beyond it the oldest is told at once and forgotten; bounds memory to about 100 KiB of keys. */
const foldedLinesMax = 1_000;

interface Fold {
  readonly line: LogLine;
  readonly untilMs: number;
  /** Further lines, from other processes. */
  count: number;
  last: LogLine;
  readonly pids: Set<number>;
}

export interface FoldedLine {
  readonly line: LogLine;
  /** 0: the line itself. n: it came n times more, from several processes. */
  readonly repeated: number;
}

export class LogFolder {
  private readonly enabled: boolean;
  /** In the order of their windows' ends. */
  private readonly folds = new Map<string, Fold>();

  constructor(enabled = true) {
    this.enabled = enabled;
  }

  /** Takes lines that arrived at `now`; returns what is to be shown now. */
  push(now: number, lines: readonly LogLine[]): FoldedLine[] {
    const out = this.due(now);
    for (const line of lines) this.take(now, line, out);
    return out;
  }

  /** When `due` has something, in ms; null: nothing is folded. */
  nextWakeMs(): number | null {
    for (const fold of this.folds.values()) return fold.untilMs;
    return null;
  }

  /** What is to be shown because its window has passed. */
  due(now: number): FoldedLine[] {
    const out: FoldedLine[] = [];
    for (const [key, fold] of this.folds) {
      if (fold.untilMs > now) break;
      this.folds.delete(key);
      tell(fold, out);
    }
    return out;
  }

  /** Everything that is still folded, for the end. */
  flush(): FoldedLine[] {
    return this.due(Number.POSITIVE_INFINITY);
  }

  private take(now: number, line: LogLine, out: FoldedLine[]): void {
    if (!this.enabled || line.text.trim() === "") {
      out.push({ line, repeated: 0 });
      return;
    }
    const key = `${line.stream} ${line.text}`;
    const fold = this.folds.get(key);
    if (fold === undefined) {
      out.push({ line, repeated: 0 });
      this.remember(key, { line, untilMs: now + foldWindowMs, count: 0, last: line, pids: new Set([line.pid]) }, out);
      return;
    }
    if (fold.line.pid === line.pid) {
      out.push({ line, repeated: 0 });
      return;
    }
    fold.count++;
    fold.last = line;
    fold.pids.add(line.pid);
  }

  private remember(key: string, fold: Fold, out: FoldedLine[]): void {
    this.folds.set(key, fold);
    if (this.folds.size <= foldedLinesMax) return;
    for (const [oldest, old] of this.folds) {
      this.folds.delete(oldest);
      tell(old, out);
      return;
    }
  }
}

/** A single further line is shown as it is: saying that it came once more would be longer. */
function tell(fold: Fold, out: FoldedLine[]): void {
  if (fold.count > 0) out.push({ line: fold.last, repeated: fold.count === 1 ? 0 : fold.count });
}

/** `(square pid=123) text`, the part in brackets in colour on a terminal. */
export function formatLogLine({ line, repeated }: FoldedLine, colour: boolean): string {
  const prefix = `(${line.source} pid=${line.pid})`;
  const again = repeated === 0 ? "" : ` [repeated ${repeated}x by other workers; SHOAL_DEDUP_LOGS=0 shows all]`;
  return `${colour ? `\u001b[36m${prefix}\u001b[39m` : prefix} ${line.text}${again}`;
}
