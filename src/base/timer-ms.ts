/** Longest delay of a timer; a longer one would fire at once. */
export const longestMs = 2 ** 31 - 1;

/** `ms` as a timer takes it: nobody waits longer than 24 days. */
export const timerMs = (ms: number): number => Math.min(ms, longestMs);
