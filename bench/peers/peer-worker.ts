/** What the threads of a pool run. */

export function noop(): void {}

export function readEnds(data: Float64Array): number {
  return data[0] + data[data.length - 1];
}
