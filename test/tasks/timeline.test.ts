import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import { expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { waitFor } from "../support/wait-for.ts";

useSession();

test("the timeline holds a complete event for each task, with its name, and can be written to a file", async () => {
  const work = shoal.remote((x: number) => x, { name: "measured work" });
  await shoal.get([1, 2, 3].map((x) => work.remote(x)));
  const done = (events: shoal.TraceEvent[]) => events.filter((event) => event.name.includes("measured work") && event.ph === "X");
  await waitFor("three events", async () => done(await shoal.timeline()).length >= 3);
  for (const event of done(await shoal.timeline())) {
    expect(event.ts).toBeGreaterThan(0); // microseconds, as Perfetto reads them
    expect(event.dur).toBeGreaterThanOrEqual(0);
    expect(event.cat).toContain("task");
    expect(event.pid).toBeDefined();
  }
  const dir = mkdtempSync(join(tmpdir(), "shoal-timeline-"));
  const file = join(dir, "trace.json");
  await shoal.timeline(file);
  const written = JSON.parse(readFileSync(file, "utf8")) as shoal.TraceEvent[] | { traceEvents: shoal.TraceEvent[] };
  expect(done(Array.isArray(written) ? written : written.traceEvents).length).toBeGreaterThanOrEqual(3);
  rmSync(dir, { recursive: true });
});
