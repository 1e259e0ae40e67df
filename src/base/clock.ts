/**
 * Node's timers and clocks as they were when this package was loaded. What runs in the user's processes takes them from here, so that it goes on
 * while a test has fake ones in their place (`vi.useFakeTimers()`, `mock.timers`).
 */
export const { setTimeout, clearTimeout, setImmediate, clearImmediate, queueMicrotask, performance } = globalThis;

/** `Date.now`, for what is compared with the times of files. */
export const dateNow: () => number = Date.now;
