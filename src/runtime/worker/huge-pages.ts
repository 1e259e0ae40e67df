/**
 * Has the C library ask the kernel for huge pages under a worker's large arrays.
 *
 * The idea: memory touched for the first time costs one page fault per page, of 4 KiB unless asked otherwise, which for an array is several times what
 * computing it or putting it costs (docs/performance.md). Python's arrays ask; Node's do not, but glibc's allocator does when a variable says so, which it
 * reads once, at the start of the process. Where the allocator is another one, or the kernel has no huge pages to give, nothing changes.
 */
const variable = "GLIBC_TUNABLES";
const asked = "glibc.malloc.hugetlb=1";

/** What goes into the environment of a worker started with `env`: nothing where that has wishes of its own. */
export function hugePagesEnv(env: Readonly<NodeJS.ProcessEnv>): NodeJS.ProcessEnv {
  return process.platform !== "linux" || env[variable] !== undefined ? {} : { [variable]: asked };
}

/** For the worker, once started: the programs that its tasks start find the environment the driver had. */
export function hideHugePagesEnv(): void {
  if (process.env[variable] === asked) delete process.env[variable];
}
