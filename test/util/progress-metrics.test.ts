/** Progress bars and metrics that any process may advance. */
import * as shoal from "shoal";
import { metrics } from "shoal/util";
import { describe, expect, test } from "vitest";
import { runProgram } from "../support/run-program.ts";
import { useSession } from "../support/session.ts";
import { thrownBy, waitFor } from "../support/wait-for.ts";

useSession();

describe("metrics", () => {
  test("are summed over all processes, by tags", async () => {
    const requests = new metrics.Counter("requests", { description: "Requests handled", tagKeys: ["route"] });
    const depth = new metrics.Gauge("depth");
    const sizes = new metrics.Histogram("sizes", { boundaries: [10, 100] });
    const handle = shoal.remote((size: number) => {
      requests.inc(1, { route: size > 50 ? "big" : "small" });
      sizes.observe(size);
      depth.set(size);
    });
    await shoal.get([5, 50, 500, 60].map((size) => handle.remote(size)));
    requests.inc(10, { route: "driver" });
    await waitFor("all to be counted", async () => {
      const samples = await metrics.snapshot();
      const value = (route: string) =>
        samples.find((sample) => sample.name === "requests" && sample.tags.route === route) as { value: number } | undefined;
      const histogram = samples.find((sample) => sample.name === "sizes") as { count: number; sum: number } | undefined;
      return (
        value("big")?.value === 2 &&
        value("small")?.value === 2 &&
        value("driver")?.value === 10 &&
        histogram?.count === 4 &&
        histogram.sum === 615
      );
    });
    const samples = await metrics.snapshot();
    expect(samples.find(({ name }) => name === "sizes")).toMatchObject({
      buckets: [
        { le: 10, count: 1 },
        { le: 100, count: 3 },
        { le: Number.POSITIVE_INFINITY, count: 4 },
      ],
    });
    const text = await metrics.exposition();
    expect(text).toMatch(/requests(_total)?\{route="big"\} 2/);
    expect(text).toContain("Requests handled");
  });

  test("reject what makes no sense", () => {
    const counter = new metrics.Counter("errors", { tagKeys: ["kind"] });
    expect(thrownBy(() => counter.inc(0))).toBeInstanceOf(RangeError);
    expect(thrownBy(() => counter.inc(-1))).toBeInstanceOf(RangeError);
    expect(thrownBy(() => counter.inc(1, { other: "x" }))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => new metrics.Counter("no spaces"))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => new metrics.Histogram("h", { boundaries: [2, 1] }))).toBeInstanceOf(RangeError);
  });
});

describe("progress()", () => {
  test("is drawn by the driver for updates from any process, and map() has a bar of its own", async () => {
    const { stdout, stderr, code } = await runProgram({
      files: {
        "main.mjs": `import * as shoal from "shoal"; import { map, progress } from "shoal/util";
await shoal.init({ numCpus: 2 });
const bar = progress(8, { label: "steps" });
const step = shoal.remote((bar) => { bar.update(); });
await shoal.get(Array.from({ length: 8 }, () => step.remote(bar)));
await bar.close();
let sum = 0;
for await (const x of map((x) => x * 2, [1, 2, 3], { progress: "doubling" })) sum += x;
console.log(sum);
await shoal.shutdown();
`,
      },
      args: ["main.mjs"],
    });
    expect([stdout, code]).toEqual(["12\n", 0]);
    expect(stderr).toMatch(/steps.*8\/8/);
    expect(stderr).toMatch(/doubling.*3\/3/);
  });
});
