/** The actor to which other processes tell how far they got; the process that draws asks it. */

export class ProgressHub {
  private readonly done = new Map<number, number>();
  /** Of bars told to close from elsewhere. */
  private readonly closed = new Set<number>();

  advance(barId: number, count: number): void {
    this.done.set(barId, (this.done.get(barId) ?? 0) + count);
  }

  close(barId: number): void {
    this.closed.add(barId);
  }

  /** What came from outside, all in all, by bar. */
  read(): [barId: number, done: number, closed: boolean][] {
    const ids = new Set([...this.done.keys(), ...this.closed]);
    return [...ids].map((id) => [id, this.done.get(id) ?? 0, this.closed.has(id)]);
  }
}
