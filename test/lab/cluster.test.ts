/**
 * A cluster of three hosts, and a fourth without a node, through everything that can happen to a machine: what a crash, a power-off, a freeze, a
 * cut or half-cut cable and a bad line do to tasks, actors, nodes and drivers, and that each says what happened.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { processesMentioning } from "../support/processes.ts";
import { ClusterLab } from "./cluster-lab.ts";
import type { Command } from "./command.ts";
import { labSupported } from "./lab.ts";
import type { LabHost } from "./lab-host.ts";

const reason = labSupported();
const title = (name: string) => (reason === null ? name : `${name} (skipped: ${reason})`);

/** Short, so that tests need not wait for the 10 s and 60 s of a real cluster. */
const quick = { SHOAL_NODE_TIMEOUT_MS: "4000", SHOAL_HEAD_RESTART_MS: "6000", SHOAL_DRAIN_MS: "3000" };
const hosts = ["head", "node2", "node3", "outside"];

let cluster: ClusterLab;
/** The clusters that tests have made and that are still there. */
const made: ClusterLab[] = [];
let node2: LabHost;
let node3: LabHost;
let outside: LabHost;

async function begin(): Promise<void> {
  cluster = await ClusterLab.up(hosts, 3, { env: quick, shm: "256m" });
  made.push(cluster);
  [, node2, node3, outside] = cluster.lab.hosts;
}

/** Starts the driver that holds six tasks, two on each host, and waits until all run. */
async function hold(from: LabHost, env: Readonly<Record<string, string>> = {}): Promise<Command> {
  const driver = cluster.drive(from, "hold.mjs", env);
  await driver.printed("members");
  await cluster.pinned(/^task-/, 6);
  expect(cluster.notes(/^task-\d-node3-/)).toHaveLength(2);
  return driver;
}

/** Those tasks that ran on node3 run again, on the others. */
async function expectRetried(driver: Command): Promise<void> {
  const lost = cluster.notes(/^task-\d-node3-0/).map((name) => name.slice(0, 7));
  // Both hosts that are left are full: what was on node3 starts when the others have finished.
  cluster.pin("go");
  await driver.printed("driver done", 60_000);
  const again = cluster.notes(/^task-\d-(head|node2)-[1-3]$/).map((name) => name.slice(0, 7));
  expect(again.sort()).toEqual(lost.sort());
  expect(driver.stdout).toMatch(/hosts( (head|node2)){6}\n/);
}

describe.skipIf(reason !== null)(title("Cluster of hosts"), () => {
  afterEach(async () => {
    for (const ended of made.splice(0)) {
      await ended.destroy();
      expect(processesMentioning(ended.lab.id)).toEqual([]);
    }
  });

  test("a driver on a node and one on a host without a node use all hosts; `shoal stop` leaves nothing", async () => {
    await begin();
    for (const [from, address] of [
      [node2, "auto"],
      [outside, cluster.address],
    ] as const) {
      const driver = await hold(from, { ADDRESS: address, ACTOR_ON: "node3" });
      expect(driver.stdout).toMatch(/actor on node3\n/);
      cluster.pin("go");
      await driver.printed("driver done");
      expect(driver.stdout).toContain("hosts head head node2 node2 node3 node3\n");
      for (const name of cluster.notes(/./)) rmSync(join(cluster.board, name));
    }
    await cluster.clean(outside);
    for (const host of [node3, node2, cluster.head]) {
      await host.must(["shoal", "stop"], { env: cluster.account.env });
      await cluster.clean(host);
    }
  });

  test("a crash of a node: its tasks run again and its actor elsewhere, at once", async () => {
    await begin();
    const driver = await hold(node2, { ADDRESS: "auto", ACTOR_ON: "node3", DEAD: "node3" });
    await node3.crash();
    await expectRetried(driver);
    expect(driver.stdout).toMatch(/actor on (head|node2) at last/);
    expect(driver.stdout).toMatch(/dead node3: .+/);
  });

  test("a power-off of a node, with the driver outside: the same after the silence has lasted", async () => {
    await begin();
    const driver = await hold(outside, { ADDRESS: cluster.address, ACTOR_ON: "node3", DEAD: "node3" });
    await node3.powerOff();
    await expectRetried(driver);
    expect(driver.stdout).toMatch(/actor on (head|node2) at last/);
    expect(driver.stdout).toMatch(/dead node3: .*(heard|silent|silence)/);
  });

  test("a frozen node: the same, and thawed it ends its work", async () => {
    await begin();
    const driver = await hold(node2, { ADDRESS: "auto", ACTOR_ON: "node3" });
    await node3.freeze();
    await expectRetried(driver);
    await node3.thaw();
    await cluster.clean(node3);
    expect((await cluster.daemons.get("node3")!.exited).code).not.toBe(0);
  });

  test("a cut cable: the node on its own ends its work and says why; mended, it can join anew", async () => {
    await begin();
    const driver = await hold(node2, { ADDRESS: "auto", ACTOR_ON: "node3" });
    await node3.cut();
    await cluster.clean(node3);
    const end = await cluster.daemons.get("node3")!.exited;
    expect(end.stdout + end.stderr).toMatch(/this node is cut off: .*head|given this node up/);
    await expectRetried(driver);
    await node3.heal();
    await cluster.startNode(node3);
    rmSync(join(cluster.board, "go"));
    for (const name of cluster.notes(/^task-/)) rmSync(join(cluster.board, name));
    const again = await hold(node2, { ADDRESS: "auto" });
    cluster.pin("go");
    await again.printed("driver done");
  });

  test.each([["to"], ["from"]])("a one-way line %s the head: both sides give the node up", async (direction) => {
    await begin();
    const driver = await hold(node2, { ADDRESS: "auto", DEAD: "node3" });
    if (direction === "to") await node3.loseTo(cluster.head);
    else await cluster.head.loseTo(node3);
    await cluster.clean(node3);
    await expectRetried(driver);
    expect(driver.stdout).toMatch(/dead node3: .+/);
  });

  test("two nodes that do not reach each other, but the head: work on both goes on", async () => {
    await begin();
    await node2.partition(node3);
    const driver = await hold(outside, { ADDRESS: cluster.address });
    cluster.pin("go");
    await driver.printed("driver done");
    expect(driver.stdout).toContain("hosts head head node2 node2 node3 node3\n");
  });

  test("a slow line that loses packets: every value arrives, and no node is given up", async () => {
    await begin();
    await node3.delay(20);
    await node3.loss(2);
    const driver = cluster.drive(outside, "shuffle.mjs", { ADDRESS: cluster.address });
    await driver.printed("wrong 0 of 24, hosts head node2 node3", 120_000);
    expect((await driver.exited).code).toBe(0);
  });

  test.each(["crash", "powerOff"] as const)("the head lost by a %s: nodes and drivers say so and end", async (how) => {
    await begin();
    const drivers = await Promise.all([
      hold(node2, { ADDRESS: "auto" }),
      cluster.drive(outside, "hold.mjs", { ADDRESS: cluster.address, COUNT: "1" }),
    ]);
    await drivers[1].printed("members");
    await cluster.head[how]();
    for (const driver of drivers) {
      const end = await driver.exited;
      expect(end.stdout).toMatch(/failed \w+: .*head/i);
      expect(end.code).toBe(3);
    }
    for (const host of [node2, node3, outside]) await cluster.clean(host, 40_000);
    for (const name of ["node2", "node3"]) {
      const end = await cluster.daemons.get(name)!.exited;
      expect(end.stdout + end.stderr).toMatch(/head/);
      expect(end.code).not.toBe(0);
    }
  });
});
