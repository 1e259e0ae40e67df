/** What a run has seen: results by kind, errors by type, faults, and what must not have been. */

export interface KindCount {
  rounds: number;
  results: number;
  /** Errors that the documented semantics allow, by class. */
  readonly errors: Map<string, number>;
}

/** Violations that are kept word by word. */
const violationsKept = 20;

export class Book {
  readonly kinds = new Map<string, KindCount>();
  readonly faults = new Map<string, number>();
  readonly violations: string[] = [];
  violationCount = 0;
  private readonly startedMs = performance.now();
  private readonly verbose: boolean;

  constructor(verbose: boolean) {
    this.verbose = verbose;
  }

  kind(name: string): KindCount {
    let count = this.kinds.get(name);
    if (count === undefined) {
      count = { rounds: 0, results: 0, errors: new Map() };
      this.kinds.set(name, count);
    }
    return count;
  }

  error(kind: string, error: Error): void {
    const { errors } = this.kind(kind);
    errors.set(error.name, (errors.get(error.name) ?? 0) + 1);
  }

  fault(kind: string, detail: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    this.tell(`${kind}: ${detail}`);
  }

  violation(where: string, what: string): void {
    this.violationCount++;
    const line = `${this.secondsSoFar().toFixed(1)} s, ${where}: ${what}`;
    if (this.violations.length < violationsKept) this.violations.push(line);
    process.stderr.write(`VIOLATION ${line}\n`);
  }

  tell(line: string): void {
    if (this.verbose) process.stderr.write(`${this.secondsSoFar().toFixed(1).padStart(7)} s  ${line}\n`);
  }

  secondsSoFar(): number {
    return (performance.now() - this.startedMs) / 1000;
  }

  report(): string {
    const list = (counts: ReadonlyMap<string, number>): string =>
      [...counts]
        .sort()
        .map(([name, count]) => `${count} ${name}`)
        .join(", ");
    const width = Math.max(...[...this.kinds.keys()].map((name) => name.length));
    const lines = [...this.kinds].map(
      ([name, { rounds, results, errors }]) =>
        `${name.padEnd(width)}  ${String(rounds).padStart(5)} rounds  ${String(results).padStart(7)} right  ${list(errors)}`,
    );
    const total = [...this.kinds.values()].reduce((sum, { results }) => sum + results, 0);
    return [
      ...lines,
      `${total} results right; faults: ${list(this.faults) || "none"}; violations: ${this.violationCount}`,
      ...this.violations.map((violation) => `  ${violation}`),
      "",
    ].join("\n");
  }
}
