/** Large items of streams whose node dies: made again by running the generator again, each under its number. */
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as shoal from "shoal";
import type { Cluster, TestNode } from "shoal/testing";
import { describe, expect, test } from "vitest";
import { inCluster, type Marks, openMarks } from "../support/cluster-driver.ts";
import { rejection } from "../support/wait-for.ts";

const there = { resources: { there: 0.01 }, numCpus: 0 };
const doomed = { numCpus: 1, resources: { there: 1 } };
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Yields `counts[n]` large items in its run n; the last count holds for all later ones. */
const produce = shoal.remote(function* (dir: string, ...counts: number[]) {
  appendFileSync(join(dir, "runs"), "run\n");
  const run = readFileSync(join(dir, "runs"), "utf8").split("\n").length - 2;
  const count = counts[Math.min(run, counts.length - 1)]!;
  for (let i = 0; i < count; i++) yield new Float64Array(100_000).fill(i);
}, there);

type Items = shoal.ObjectRef<Float64Array>[];

async function take(stream: shoal.ObjectRefGenerator<Float64Array>, count: number): Promise<Items> {
  const refs: Items = [];
  while (refs.length < count) {
    const step = await stream.next();
    if (step.done) break;
    refs.push(step.value);
  }
  return refs;
}

const firsts = async (refs: Items): Promise<number[]> => {
  const values = await shoal.get(refs, { timeoutMs: 30_000 });
  return values.map((value) => value[0]!);
};

/** The driver's node, and one that has what the stream needs. */
async function withNode(
  body: (cluster: Cluster, marks: Marks, node: TestNode, addNode: () => Promise<TestNode>) => Promise<void>,
): Promise<void> {
  using marks = openMarks();
  await inCluster({}, async (cluster, seen) => {
    seen(await cluster.addNode({ numCpus: 1 }));
    const addNode = async () => seen(await cluster.addNode(doomed));
    const node = await addNode();
    await shoal.init({ address: cluster.address });
    await body(cluster, marks, node, addNode);
  });
}

describe("Items of a stream on a node that dies", () => {
  test.each([0, 3, 8])("are made again, by one run, when the consumer has taken %i of 8", async (taken) => {
    await withNode(async (cluster, marks, node, addNode) => {
      const stream = produce.remote(marks.dir, 8);
      await shoal.get(stream.completed);
      const refs = await take(stream, taken);
      await cluster.killNode(node);
      await addNode();
      refs.push(...(await take(stream, 100)));
      expect(await firsts(refs)).toEqual(numbers(8));
      expect(marks.count("runs")).toBe(2);
    });
  });

  test("are made again when it was still running, under backpressure", async () => {
    await withNode(async (cluster, marks, node, addNode) => {
      const stream = produce.options({ ...there, maxRetries: 1, generatorBackpressure: 2 }).remote(marks.dir, 8);
      const refs = await take(stream, 4);
      await cluster.killNode(node);
      await addNode();
      expect(await firsts(refs)).toEqual(numbers(4));
      refs.push(...(await take(stream, 100)));
      expect(await firsts(refs)).toEqual(numbers(8));
      expect(marks.count("runs")).toBe(2);
    });
  });

  test("are lost when the task has no retries left, and the error says so", async () => {
    await withNode(async (cluster, marks, node, addNode) => {
      const stream = produce.options({ ...there, maxRetries: 1 }).remote(marks.dir, 2);
      await shoal.get(stream.completed);
      const refs = await take(stream, 2);
      await cluster.killNode(node);
      const second = await addNode();
      await shoal.wait(refs, { numReturns: 2, timeoutMs: 30_000, fetchLocal: false });
      expect(marks.count("runs")).toBe(2);
      await cluster.killNode(second);
      for (const ref of refs) {
        const error = await rejection<shoal.ObjectReconstructionFailedError>(shoal.get(ref, { timeoutMs: 30_000 }));
        expect(error).toBeInstanceOf(shoal.ObjectReconstructionFailedError);
        expect(error.reason).toBe("the task that made it has no retries left");
      }
    });
  });

  test("are lost when the generator yields fewer as it runs again, and the error says so", async () => {
    await withNode(async (cluster, marks, node, addNode) => {
      const stream = produce.remote(marks.dir, 4, 3);
      await shoal.get(stream.completed);
      await cluster.killNode(node);
      await addNode();
      const refs = await take(stream, 100);
      expect(refs.length).toBe(4);
      expect(await firsts(refs.slice(0, 3))).toEqual(numbers(3));
      const error = await rejection(shoal.get(refs[3]!, { timeoutMs: 30_000 }));
      expect(error).toBeInstanceOf(shoal.ObjectReconstructionFailedError);
      expect(error.message).toContain("yielded 3 items when it ran again");
    });
  });
});
