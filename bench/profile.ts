/** Reads the CPU profiles of a run and prints the functions that took the most time themselves, process by process. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const shownFunctions = 30;

export function printHotFunctions(dir: string): void {
  for (const name of readdirSync(dir).filter((entry) => entry.endsWith(".cpuprofile"))) {
    const profile = JSON.parse(readFileSync(join(dir, name), "utf8")) as CpuProfile;
    const { lines, busyMs, totalMs } = hotFunctions(profile);
    process.stdout.write(`\n${name}: ${busyMs.toFixed(0)} ms busy of ${totalMs.toFixed(0)}\n${lines.join("\n")}\n`);
  }
}

function hotFunctions(profile: CpuProfile): { lines: string[]; busyMs: number; totalMs: number } {
  const nameOf = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName || "(anonymous)"} ${url === "" ? "" : `${basename(url)}:${lineNumber + 1}`}`,
    ]),
  );
  const selfMs = new Map<string, number>();
  let totalMs = 0;
  profile.samples.forEach((id, i) => {
    const name = nameOf.get(id) ?? "?";
    const ms = profile.timeDeltas[i] / 1000;
    totalMs += ms;
    selfMs.set(name, (selfMs.get(name) ?? 0) + ms);
  });
  const busyMs = totalMs - (selfMs.get("(idle) ") ?? 0);
  selfMs.delete("(idle) ");
  const hottest = [...selfMs].sort((a, b) => b[1] - a[1]).slice(0, shownFunctions);
  const lines = hottest.map(([name, ms]) => `${((100 * ms) / busyMs).toFixed(1).padStart(6)} %  ${name}`);
  return { lines, busyMs, totalMs };
}
