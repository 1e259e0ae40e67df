/** Where the dashboard's answers come from: the requests that the command line makes, too. */
import type { MethodName, MethodParams, MethodResult } from "../runtime/daemon/methods.ts";

/** Asks the head's daemon as a process that is part of no job. */
export type Ask = <M extends MethodName>(method: M, params: MethodParams<M>) => Promise<Awaited<MethodResult<M>>>;

/** Milliseconds for which one answer serves everybody who asks: however many pages are open, the head does the work once. */
const freshMs = 1_000;

/** Answers that are made at most once at a time and kept for a moment. */
export class Shared {
  private readonly kept = new Map<string, { readonly untilMs: number; readonly answer: Promise<unknown> }>();

  get<T>(name: string, make: () => Promise<T>): Promise<T> {
    const known = this.kept.get(name);
    if (known !== undefined && performance.now() < known.untilMs) return known.answer as Promise<T>;
    const answer = make();
    const entry = { untilMs: Number.POSITIVE_INFINITY, answer: answer as Promise<unknown> };
    this.kept.set(name, entry);
    const settled = (): void => {
      if (this.kept.get(name) === entry) this.kept.set(name, { untilMs: performance.now() + freshMs, answer });
    };
    answer.then(settled, () => {
      if (this.kept.get(name) === entry) this.kept.delete(name);
    });
    return answer;
  }

  /** Lets go of what is too old: nobody may look for hours. */
  sweep(): void {
    for (const [name, { untilMs }] of this.kept) if (performance.now() >= untilMs) this.kept.delete(name);
  }
}
