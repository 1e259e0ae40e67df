/** Every benchmark runs, at a tiny size: what is measured by hand alone would rot. The figures are not looked at. */
import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { benchmarks } from "../../bench/catalog.ts";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** `npm run bench -- ...`, without the build. */
async function bench(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_OPTIONS$)/.test(name)));
  return promisify(execFile)(process.execPath, ["--import", import.meta.resolve("tsx"), "bench/main.ts", ...args], {
    cwd: repository,
    env,
  });
}

interface Report {
  readonly results: readonly {
    readonly benchmark: { readonly name: string };
    readonly shoal: { readonly value: number } | string;
    readonly ray: unknown;
    readonly pools: Readonly<Record<string, { readonly value: number } | string>>;
  }[];
}

describe("bench", () => {
  test("every benchmark gives a figure, and one on each pool where pools can do the job", { timeout: 360_000 }, async () => {
    const report = JSON.parse((await bench("--small", "--json")).stdout) as Report;
    expect(report.results.map(({ benchmark }) => benchmark.name)).toEqual(benchmarks.map(({ name }) => name));
    const missing = report.results.flatMap(({ benchmark, shoal, pools }) =>
      [["Shoal", shoal] as const, ...Object.entries(pools)].flatMap(([who, cell]) =>
        typeof cell === "object" && Number.isFinite(cell.value) ? [] : [`${benchmark.name}, ${who}: ${cell}`],
      ),
    );
    expect(missing).toEqual([]);
    expect(report.results.filter(({ pools }) => Object.keys(pools).length === 3)).toHaveLength(3);
  });

  test("without Ray its column is empty", async () => {
    const { stdout, stderr } = await bench("--small", "--json", "--only", "tasks sync", "--ray", "/nowhere/python");
    expect(stderr).toContain("cannot import ray");
    expect((JSON.parse(stdout) as Report).results).toMatchObject([{ benchmark: { name: "single client tasks sync" }, ray: "" }]);
  });

  test("an unknown benchmark is wrong usage", async () => {
    await expect(bench("--only", "no such thing")).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("there is none"),
    });
  });
});
