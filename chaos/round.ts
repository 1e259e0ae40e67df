/** One round of work: submits, waits within bounds, and compares. What it finds wrong it throws as a `Violation`. */
import * as shoal from "shoal";
import { Random } from "../sim/random.ts";
import type { ChaosOptions } from "./arguments.ts";
import type { Book } from "./book.ts";

export class Violation extends Error {}

export type Outcome<T> = { readonly value: T; readonly error: null } | { readonly value: null; readonly error: Error };

/** A kind of work. `lanes` rounds of it run at any time. */
export interface Kind {
  readonly name: string;
  readonly lanes: number;
  run(round: Round): Promise<void>;
}

export class Round {
  readonly random: Random;
  readonly options: ChaosOptions;
  /** The id of the head's node, which never dies. */
  readonly headNodeId: string;
  private readonly kind: string;
  private readonly book: Book;

  constructor(kind: string, seed: number, options: ChaosOptions, headNodeId: string, book: Book) {
    this.kind = kind;
    this.random = new Random(seed);
    this.options = options;
    this.headNodeId = headNodeId;
    this.book = book;
  }

  /** The value of `ref`, or its error if that is of an allowed class. */
  async outcome<T>(what: string, ref: shoal.ObjectRef<T>, allowed: readonly shoal.ErrorClass[] = []): Promise<Outcome<T>> {
    try {
      return { value: await shoal.get(ref, { timeoutMs: this.options.patienceMs }), error: null };
    } catch (thrown) {
      const error = thrown as Error;
      if (allowed.some((one) => error instanceof one)) {
        this.book.error(this.kind, error);
        return { value: null, error };
      }
      if (error instanceof shoal.GetTimeoutError) throw new Violation(`hang: ${what}: ${error.message}; ${await roomNow()}`);
      throw new Violation(`${what}: ${describe(error)}`);
    }
  }

  /** The value of `ref`, whose failure nothing excuses. */
  async value<T>(what: string, ref: shoal.ObjectRef<T>): Promise<T> {
    return (await this.outcome(what, ref)).value as T;
  }

  /** Compares a result with what it must be, and counts it. */
  right(what: string, actual: unknown, expected: unknown): void {
    if (!Object.is(actual, expected)) throw new Violation(`${what}: ${String(actual)}, expected ${String(expected)}`);
    this.book.kind(this.kind).results++;
  }

  check(what: string, holds: boolean): void {
    if (!holds) throw new Violation(what);
  }

  /** `promise`, which must settle within the patience. */
  async within<T>(what: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), this.options.patienceMs);
    });
    try {
      const first = await Promise.race([promise.then((value) => ({ value })), late]);
      if (first === "late")
        throw new Violation(`hang: ${what} has not come in ${this.options.patienceMs} ms; ${await roomNow()}`);
      return first.value;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Runs rounds of `kind` one after the other until `isOver`. */
export async function runLane(
  kind: Kind,
  lane: number,
  options: ChaosOptions,
  headNodeId: string,
  book: Book,
  isOver: () => boolean,
): Promise<void> {
  for (let number = 0; !isOver(); number++) {
    const seed = options.seed * 1_000_003 + lane * 10_007 + number;
    try {
      await kind.run(new Round(kind.name, seed, options, headNodeId, book));
      book.kind(kind.name).rounds++;
    } catch (error) {
      const what = error instanceof Violation ? error.message : describe(error as Error);
      book.violation(`${kind.name}, lane ${lane}, round ${number}`, what);
    }
  }
}

export function describe(error: Error): string {
  const cause = (error as { cause?: unknown }).cause;
  return `${error.stack ?? String(error)}${cause instanceof Error ? `; caused by ${cause.name}: ${cause.message}` : ""}`;
}

/** What the cluster has free: a hang is one only while there is room. */
export async function roomNow(): Promise<string> {
  try {
    const bounded = AbortSignal.timeout(5_000);
    const looked = Promise.all([shoal.nodes(), shoal.availableResources()]);
    const late = new Promise<never>((_resolve, reject) =>
      bounded.addEventListener("abort", () => reject(new Error("the head does not answer")), { once: true }),
    );
    const [nodes, free] = await Promise.race([looked, late]);
    return `${nodes.filter(({ alive }) => alive).length} nodes live, ${free.CPU ?? 0} CPUs are free`;
  } catch (error) {
    return `nothing is known of the cluster: ${(error as Error).message}`;
  }
}
