/** Waiting for what gives no event: the ends of processes that are not our children, files that others write. */
const pollMs = 20;

/** False when `withinMs` passed first. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
  everyMs: number = pollMs,
): Promise<boolean> {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  return true;
}
