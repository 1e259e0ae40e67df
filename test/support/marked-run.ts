/** What a task does that a test follows by `Marks` (cluster-driver.ts). */
import { appendFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import * as shoal from "shoal";

/** Notes its start and its node, waits for the mark `until`, notes its end. */
export async function markedRun(dir: string, name: string, until: string): Promise<string> {
  const { nodeId } = shoal.getRuntimeContext();
  appendFileSync(join(dir, `${name}-started`), `${nodeId}\n`);
  while (!existsSync(join(dir, until))) await new Promise((resolve) => setTimeout(resolve, 10));
  appendFileSync(join(dir, `${name}-ended`), `${nodeId}\n`);
  return nodeId;
}
