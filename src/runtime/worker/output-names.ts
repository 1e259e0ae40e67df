/**
 * Tells the daemon who prints: before a chunk goes out under another name than the last one did, a marker (U+0001 name U+0001) is written.
 * The daemon takes markers out again (daemon/line-splitter.ts).
 */
export function nameOutput(currentName: () => string | null): void {
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    let last: string | null = null;
    stream.write = ((...args: unknown[]) => {
      const name = currentName();
      if (name !== null && name !== last) {
        last = name;
        write(`\u0001${name}\u0001`);
      }
      return write(...args);
    }) as typeof stream.write;
  }
}

/**
 * Makes printing wait until the pipe has taken it. Otherwise Node keeps what does not fit, and a task's result overtakes what it printed, or
 * `process.exit` throws it away.
 */
export function blockOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    const handle = (stream as { _handle?: { setBlocking?(on: boolean): void } })._handle;
    handle?.setBlocking?.(true);
  }
}
