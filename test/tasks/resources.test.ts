import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdCpus } from "../support/hold-cpu.ts";
import { runProgram } from "../support/run-program.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession({ numCpus: 2, numGpus: 2, resources: { tape: 3, scanner: 1 }, labels: { zone: "north", disk: "ssd" } });

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "shoal-resources-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/**
 * Enters a file with its share into `place`, and stays until `expected` is in use at once or has been. Returns the most it saw in use.
 * Files, because their count is the same for every process at every moment.
 */
const occupy = shoal.remote(async (place: string, id: number, share: number, expected: number) => {
  const inUse = () =>
    readdirSync(place)
      .filter((name) => name.startsWith("in-"))
      .reduce((sum, name) => sum + Number(name.split("_")[1]), 0);
  const file = join(place, `in-${id}_${share}`);
  writeFileSync(file, "");
  let most = 0;
  const deadline = Date.now() + 10_000;
  for (;;) {
    const now = inUse();
    most = Math.max(most, now);
    if (now >= expected - 1e-9) writeFileSync(join(place, "reached"), "");
    if (readdirSync(place).includes("reached") || Date.now() > deadline) break;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  rmSync(file);
  return most;
});

async function mostInUse(calls: number, share: number, expected: number, options: shoal.TaskOptions): Promise<number> {
  const place = mkdtempSync(join(dir, "place-"));
  const refs = Array.from({ length: calls }, (_, i) => occupy.options(options).remote(place, i, share, expected));
  return Math.max(...(await shoal.get(refs)));
}

const allIsBack = () =>
  waitFor("all resources to be returned", async () => {
    const [all, available] = [await shoal.clusterResources(), await shoal.availableResources()];
    return ["CPU", "GPU", "tape", "scanner"].every((name) => all[name] === available[name]);
  });

describe("resources bound what runs at once", () => {
  test("one CPU a task unless told", async () => {
    expect(await mostInUse(6, 1, 2, {})).toBe(2);
  });

  test("a task may take all CPUs", async () => {
    expect(await mostInUse(3, 2, 2, { numCpus: 2 })).toBe(2);
  });

  test("fractions of a CPU", async () => {
    expect(await mostInUse(8, 0.5, 2, { numCpus: 0.5 })).toBe(2);
  });

  test("custom resources, with no CPU", async () => {
    expect(await mostInUse(6, 1, 3, { numCpus: 0, resources: { tape: 1 } })).toBe(3);
    expect(await mostInUse(3, 1, 1, { numCpus: 0, resources: { scanner: 1 } })).toBe(1);
    expect(await mostInUse(4, 1.5, 3, { numCpus: 0, resources: { tape: 1.5 } })).toBe(3);
  });

  test("random fractions never add up to more than there is, and all of it comes back", async () => {
    const place = mkdtempSync(join(dir, "random-"));
    const shares = Array.from({ length: 40 }, (_, i) => ((i * 7919) % 97) / 100 + 0.01);
    const refs = shares.map((share, i) => occupy.options({ numCpus: 0, resources: { tape: share } }).remote(place, i, share, 2));
    for (const most of await shoal.get(refs)) expect(most).toBeLessThanOrEqual(3 + 1e-9);
    await allIsBack();
  });

  test("a task that needs no CPU runs while all CPUs are taken", async () => {
    const release = await holdCpus(2);
    const free = shoal.remote(() => "ran", { numCpus: 0 });
    const [ready] = await shoal.wait([shoal.remote(() => 1).remote()], { timeoutMs: 0 });
    expect(ready).toEqual([]);
    expect(await shoal.get(free.remote())).toBe("ran");
    await release();
  });

  test("tasks of different needs do not stand in each other's way", async () => {
    const release = await holdCpus(1);
    const both = shoal.remote(() => "both", { numCpus: 2 }).remote(); // must wait
    const one = shoal.remote(() => "one", { numCpus: 1 });
    expect(await shoal.get(one.remote())).toBe("one");
    await release();
    expect(await shoal.get(both)).toBe("both");
  });
});

describe("what there is, and what is free", () => {
  test("is told, and the free part falls while a task runs", async () => {
    await allIsBack();
    expect(await shoal.clusterResources()).toMatchObject({ CPU: 2, GPU: 2, tape: 3, scanner: 1 });
    const release = await holdCpus(1);
    expect((await shoal.availableResources()).CPU).toBe(1);
    await release();
    await allIsBack();
  });

  test("a task knows its share", async () => {
    const share = shoal.remote(() => shoal.getRuntimeContext().assignedResources, { numCpus: 0.25, resources: { tape: 2 } });
    expect(await shoal.get(share.remote())).toEqual({ CPU: 0.25, tape: 2 });
  });

  test("GPUs have ids, and two tasks at once have different ones", async () => {
    const place = mkdtempSync(join(dir, "gpus-"));
    mkdirSync(join(place, "held"));
    const hold = shoal.remote(
      async (held: string) => {
        const { gpuIds } = shoal.getRuntimeContext();
        writeFileSync(join(held, gpuIds.join("_")), "");
        for (const end = Date.now() + 10_000; readdirSync(held).length < 2 && Date.now() < end; )
          await new Promise((resolve) => setTimeout(resolve, 1));
        return gpuIds;
      },
      { numGpus: 1, numCpus: 0 },
    );
    const ids = await shoal.get([hold.remote(join(place, "held")), hold.remote(join(place, "held"))]);
    expect(ids.flat().sort()).toHaveLength(2);
    expect(new Set(ids.flat()).size).toBe(2);
    const none = shoal.remote(() => shoal.getRuntimeContext().gpuIds);
    expect(await shoal.get(none.remote())).toEqual([]);
  });

  test("nodes() lists the one node with its resources and labels", async () => {
    const nodes = await shoal.nodes();
    expect(nodes).toHaveLength(1);
    expect(nodes[0]).toMatchObject({
      nodeId: shoal.getRuntimeContext().nodeId,
      alive: true,
      resources: { CPU: 2, tape: 3 },
      labels: { zone: "north" },
    });
  });
});

describe("requests that cannot be met now or ever", () => {
  test("stay pending, and others go on", async () => {
    const square = shoal.remote((x: number) => x * x);
    const impossible = [
      square.options({ numCpus: 100 }).remote(1),
      square.options({ resources: { tape: 4 } }).remote(1),
      square.options({ resources: { unheardOf: 1 } }).remote(1),
      square.options({ labelSelector: { zone: "south" } }).remote(1),
    ];
    expect(await shoal.get([1, 2, 3].map((i) => square.remote(i)))).toEqual([1, 4, 9]);
    const [ready, pending] = await shoal.wait(impossible, { numReturns: 4, timeoutMs: 200 });
    expect(ready).toEqual([]);
    expect(pending).toEqual(impossible);
    await Promise.all(impossible.map((ref) => shoal.cancel(ref)));
    for (const ref of impossible) expect(await rejection(shoal.get(ref))).toBeInstanceOf(shoal.TaskCancelledError);
  });

  test("are told to the driver: what is asked, and what exists", async () => {
    const { stderr, stdout, code } = await runProgram({
      files: {
        "main.mjs": `
          import * as shoal from "shoal";
          await shoal.init({ numCpus: 1 });
          const greedy = shoal.remote(() => 1, { numCpus: 64, name: "greedy" });
          const ref = greedy.remote();
          const write = process.stderr.write;
          await new Promise((resolve) => {
            const deadline = setTimeout(resolve, 20_000);
            const told = (text) => { if (/64/.test(text)) { clearTimeout(deadline); resolve(); } };
            process.stderr.write = function (chunk, ...rest) { told(String(chunk)); return write.call(this, chunk, ...rest); };
          });
          await shoal.shutdown();
          console.log("end");`,
      },
      args: ["main.mjs"],
    });
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("end");
    expect(stderr).toMatch(/64/);
    expect(stderr).toMatch(/CPU/);
    expect(stderr).toMatch(/\b1\b/);
  });

  test("a node that is not there is an error at once, unless the wish is soft", async () => {
    const where = shoal.remote(() => shoal.getRuntimeContext().nodeId);
    const here = shoal.getRuntimeContext().nodeId;
    const nowhere = "f".repeat(here.length);
    const error = await rejection(shoal.get(where.options({ schedulingStrategy: shoal.nodeAffinity(nowhere) }).remote()));
    expect(error).toBeInstanceOf(shoal.TaskUnschedulableError);
    expect(error.message).toContain(nowhere);
    expect(await shoal.get(where.options({ schedulingStrategy: shoal.nodeAffinity(nowhere, { soft: true }) }).remote())).toBe(
      here,
    );
    expect(await shoal.get(where.options({ schedulingStrategy: shoal.nodeAffinity(here) }).remote())).toBe(here);
    expect(await shoal.get(where.options({ schedulingStrategy: "SPREAD" }).remote())).toBe(here);
  });

  test.each([
    [{ zone: "north" }, true],
    [{ zone: "!south" }, true],
    [{ zone: "in(north,south)", disk: "ssd" }, true],
    [{ zone: "!in(west,east)" }, true],
    [{ zone: "!north" }, false],
    [{ zone: "in(west)" }, false],
    [{ rack: "1" }, false],
  ])("labels %j select the node: %s", async (labelSelector, selected) => {
    const ref = shoal
      .remote(() => "ran")
      .options({ labelSelector })
      .remote();
    const [ready] = await shoal.wait([ref], { timeoutMs: selected ? 10_000 : 150 });
    expect(ready.length === 1).toBe(selected);
    if (!selected) await shoal.cancel(ref);
  });
});

describe("the environment of a task", () => {
  test("envVars and workingDir are those asked for, in a process of its own", async () => {
    writeFileSync(join(dir, "data.txt"), "from the working directory");
    const look = shoal.remote(
      () => ({ color: process.env.SHOAL_TEST_COLOR, text: readFileSync("data.txt", "utf8"), pid: process.pid }),
      {
        runtimeEnv: { envVars: { SHOAL_TEST_COLOR: "green" }, workingDir: dir },
      },
    );
    const plain = shoal.remote(() => ({ color: process.env.SHOAL_TEST_COLOR, pid: process.pid }));
    const inside = await shoal.get(look.remote());
    const outside = await shoal.get(plain.remote());
    expect(inside).toMatchObject({ color: "green", text: "from the working directory" });
    expect(outside.color).toBeUndefined();
    expect(outside.pid).not.toBe(inside.pid);
  });

  test("a working directory that is not there is RuntimeEnvSetupError", async () => {
    const ref = shoal.remote(() => 1, { runtimeEnv: { workingDir: join(dir, "missing") } }).remote();
    const error = await rejection(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(error.message).toContain("missing");
  });
});
