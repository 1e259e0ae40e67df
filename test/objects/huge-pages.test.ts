/** Large arrays of workers are made of huge pages, as NumPy's are, where allocator and kernel have them to give. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";

useSession({ numCpus: 1 });

/** glibc of 2.35 and later asks, and only where the kernel leaves it to programs to ask. */
function whyNot(): string | null {
  const { glibcVersionRuntime } = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header;
  const [major = 0, minor = 0] = (glibcVersionRuntime ?? "").split(".").map(Number);
  if (major < 2 || (major === 2 && minor < 35)) return "needs glibc 2.35";
  const mode = "/sys/kernel/mm/transparent_hugepage/enabled";
  try {
    return readFileSync(mode, "utf8").includes("[madvise]") ? null : `needs madvise in ${mode}`;
  } catch {
    return `needs ${mode}`;
  }
}

/** Whether each mapping of at least 64 MB that holds nothing but memory is one for which huge pages were asked. */
const askedForLargeArray = shoal.remote(() => {
  const array = new Float64Array(8_000_000);
  const mappings = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const large = mappings.filter(
    (mapping) => /^\S+ rw-p 00000000 00:00 0 *\n/.test(mapping) && sizeOf(mapping) * 1024 >= array.byteLength,
  );
  return large.map((mapping) => /^VmFlags:.* hg\b/m.test(mapping));
});

const sizeOf = (mapping: string): number => Number(/^Size: +(\d+) kB/m.exec(mapping)?.[1]);

const variableOf = shoal.remote((command: "own" | "child") =>
  command === "own"
    ? (process.env.GLIBC_TUNABLES ?? "")
    : spawnSync("sh", ["-c", 'printf %s "$GLIBC_TUNABLES"'], { encoding: "utf8" }).stdout,
);

describe("large arrays of a worker", () => {
  const reason = whyNot();
  test.skipIf(reason !== null)(`are made of huge pages${reason === null ? "" : ` (${reason})`}`, async () => {
    expect(await shoal.get(askedForLargeArray.remote())).toContain(true);
  });

  test("leave no variable to the programs a task starts", async () => {
    expect(await shoal.get([variableOf.remote("own"), variableOf.remote("child")])).toEqual(["", ""]);
  });

  test("are as the environment says where it says something", async () => {
    const runtimeEnv = { envVars: { GLIBC_TUNABLES: "glibc.malloc.hugetlb=0" } };
    const told = variableOf.options({ runtimeEnv });
    expect(await shoal.get([told.remote("own"), told.remote("child")])).toEqual(Array(2).fill("glibc.malloc.hugetlb=0"));
    if (reason === null) expect(await shoal.get(askedForLargeArray.options({ runtimeEnv }).remote())).not.toContain(true);
  });
});
