import { describe, expect, it } from "vitest";
import type { JobId, LeaseId, WorkerId } from "../base/ids.ts";
import { availableResources, describe as describeScheduler } from "./scheduler.ts";
import { type EffectOf, envOf, Harness, specOf } from "./scheduler-harness.ts";

const oneCpu = specOf({ CPU: 1 });

describe("leases", () => {
  it("are granted on prestarted workers, as many as there are CPUs", () => {
    const node = new Harness({ CPU: 2 });
    node.job("job1", 2);
    expect(node.starts.length).toBe(2);
    node.startAll();
    const leases = node.run("driver", 1, oneCpu, 5);
    expect(leases.length).toBe(2);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
    expect(describeScheduler(node.state).demands).toMatchObject([{ count: 3, why: "waiting" }]);
  });

  it("in sequence reuse the most recently idle worker", () => {
    const node = new Harness({ CPU: 2 });
    node.job("job1", 2);
    node.startAll();
    const [first] = node.run("driver", 1, oneCpu, 1);
    const workers = new Set([first.workerId]);
    node.giveBack(first);
    for (let i = 0; i < 5; i++) {
      const [lease] = node.of("grant", node.demand("driver", 1, 1));
      workers.add(lease.workerId);
      node.giveBack(lease);
    }
    expect(workers.size).toBe(1);
  });

  it("start no more processes than wait, counting starts under way", () => {
    const node = new Harness({ CPU: 4 });
    node.job("job1", 2);
    node.define("driver", 1, oneCpu);
    node.demand("driver", 1, 3);
    expect(node.starts.length).toBe(3);
    node.demand("driver", 1, 4);
    expect(node.starts.length).toBe(4);
  });

  it("start no more processes at once than there are CPUs", () => {
    const node = new Harness({ CPU: 2 });
    node.job();
    node.define("driver", 1, specOf({ CPU: 0.1 }));
    node.demand("driver", 1, 10);
    expect(node.starts.length).toBe(2);
    expect(node.startAll().length).toBe(10);
    expect(node.leases.size).toBe(10);
  });

  it("count grants that the owner has not seen when it says how many it wants", () => {
    const node = new Harness({ CPU: 4 });
    node.job("job1", 4);
    node.startAll();
    node.define("driver", 1, oneCpu);
    node.demand("driver", 1, 2);
    expect(node.leases.size).toBe(2);
    // Sent before the two grants arrived: it still wants two in all.
    node.send({ kind: "demand", ownerId: "driver" as WorkerId, classId: 1, wanted: 2, grantsSeen: 0 });
    expect(node.leases.size).toBe(2);
    node.send({ kind: "demand", ownerId: "driver" as WorkerId, classId: 1, wanted: 1, grantsSeen: 2 });
    expect(node.leases.size).toBe(3);
  });

  it("that are no longer wanted free what was booked for them", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    node.define("driver", 1, oneCpu);
    node.demand("driver", 1, 3);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
    node.demand("driver", 1, 0);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    node.startAll();
    expect(node.leases.size).toBe(0);
  });

  it("returned twice, or by somebody else, or never granted, change nothing", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const [lease] = node.run("driver", 1, oneCpu, 1);
    node.send({ kind: "returnLease", ownerId: "other" as WorkerId, leaseId: lease.leaseId });
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
    node.giveBack(lease);
    node.giveBack(lease);
    node.send({ kind: "returnLease", ownerId: "driver" as WorkerId, leaseId: 99 as LeaseId });
    node.send({ kind: "blocked", leaseId: lease.leaseId });
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
  });

  it("whose worker dies free their resources once, though the owner returns them later", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const [lease] = node.run("driver", 1, oneCpu, 2);
    node.send({ kind: "workerGone", workerId: lease.workerId });
    expect(node.starts.length).toBe(1);
    node.giveBack(lease);
    node.startAll();
    expect(node.leases.size).toBe(1);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
  });

  it("of an owner that is gone end with their workers", () => {
    const node = new Harness({ CPU: 2 });
    node.job("job1", 2);
    node.startAll();
    const [lease] = node.run("driver", 1, oneCpu, 1);
    const effects = node.send({ kind: "ownerGone", ownerId: "driver" as WorkerId });
    expect(node.of("stopWorker", effects).map((stop) => stop.workerId)).toEqual([lease.workerId]);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    node.send({ kind: "workerGone", workerId: lease.workerId });
    expect(availableResources(node.state)).toEqual({ CPU: 2 });
  });

  it("of an owner that is gone vanish from the waiting demand", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    node.define("driver", 1, oneCpu);
    node.demand("driver", 1, 5);
    node.send({ kind: "ownerGone", ownerId: "driver" as WorkerId });
    node.startAll();
    expect(node.leases.size).toBe(0);
    expect(describeScheduler(node.state).demands).toEqual([]);
  });

  it("are not granted on a worker that retires, and those it has are called back", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const [lease] = node.run("driver", 1, oneCpu, 2);
    const effects = node.send({ kind: "workerRetiring", workerId: lease.workerId });
    expect(node.of("recall", effects).map((recall) => recall.leaseId)).toEqual([lease.leaseId]);
    expect(node.of("retired", effects)).toEqual([]);
    node.giveBack(lease);
    expect(node.of("retired").map((effect) => effect.workerId)).toEqual([lease.workerId]);
    expect(node.startAll().length).toBe(1);
    expect([...node.leases.values()].map((next) => next.workerId)).not.toContain(lease.workerId);
  });

  it("are kept apart by job and by runtime env", () => {
    const node = new Harness({ CPU: 4 });
    node.job("job1", 1);
    node.startAll();
    const plain = node.run("driver", 1, oneCpu, 1);
    const withEnv = node.run("driver", 2, specOf({ CPU: 1 }, { runtimeEnv: envOf("x") }), 1);
    const sameEnv = node.run("driver", 3, specOf({ CPU: 1 }, { runtimeEnv: { envVars: { NAME: "x" } } }), 1);
    const otherJob = node.run("driver2", 1, oneCpu, 1, "job2");
    const workers = [plain, withEnv, sameEnv, otherJob].map(([lease]) => lease.workerId);
    expect(new Set(workers).size).toBe(4);
    for (const [lease] of [plain, withEnv, sameEnv, otherJob]) node.giveBack(lease);
    expect(node.of("grant", node.demand("driver", 3, 1))[0].workerId).toBe(workers[2]);
  });
});

describe("blocked workers", () => {
  it("give their CPU back, and nested tasks ten deep need two processes on one CPU", () => {
    const node = new Harness({ CPU: 1 });
    node.job("job1", 1);
    node.startAll();
    let owner = "driver";
    const held: EffectOf<"grant">[] = [];
    for (let depth = 0; depth < 10; depth++) {
      const [lease] = node.run(owner, depth, oneCpu, 1);
      held.push(lease);
      owner = lease.workerId;
      if (depth < 9) node.block(lease);
    }
    expect(node.of("startWorker").length).toBe(2);
    for (const lease of held.reverse()) {
      node.giveBack(lease);
      const parent = held.find((other) => other.workerId === lease.ownerId && node.leases.has(other.leaseId));
      if (parent !== undefined) node.unblock(parent);
    }
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
  });

  it("make room for an idle worker first, then for a new process, then inside themselves", () => {
    const node = new Harness({ CPU: 2 });
    node.job("job1", 3);
    node.startAll();
    const [a, b] = node.run("driver", 1, oneCpu, 2);
    node.block(a);
    const [onIdle] = node.run("driver", 2, oneCpu, 1);
    expect(node.of("startWorker").length).toBe(3);
    node.block(b);
    const [onNew] = node.run("driver", 3, oneCpu, 1);
    expect(node.of("startWorker").length).toBe(4);
    node.block(onIdle);
    const [shared] = node.run("driver", 4, oneCpu, 1);
    expect(node.of("startWorker").length).toBe(4);
    expect([a, b, onIdle].map((lease) => lease.workerId)).toContain(shared.workerId);
    expect(onNew.workerId).not.toBe(shared.workerId);
  });

  it("take the next task where the fewest run", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const [a] = node.run("driver", 1, oneCpu, 1);
    node.block(a);
    const [b] = node.run("driver", 2, oneCpu, 1);
    node.block(b);
    const [c] = node.run("driver", 3, oneCpu, 1);
    node.block(c);
    const [d] = node.run("driver", 4, oneCpu, 1);
    expect(new Set([c.workerId, d.workerId])).toEqual(new Set([a.workerId, b.workerId]));
  });

  it("that go on may use more CPUs than there are, and nobody else gets one meanwhile", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const [a] = node.run("driver", 1, oneCpu, 1);
    node.block(a);
    const [b] = node.run("driver", 2, oneCpu, 1);
    node.unblock(a);
    expect(availableResources(node.state)).toEqual({ CPU: -1 });
    node.run("driver", 3, oneCpu, 1);
    expect(node.leases.size).toBe(2);
    node.giveBack(a);
    expect(node.leases.size).toBe(1);
    node.giveBack(b);
    expect(node.leases.size).toBe(1);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
  });

  it("keep GPUs and custom resources", () => {
    const node = new Harness({ CPU: 1, GPU: 1, disk: 1 });
    node.job();
    const [a] = node.run("driver", 1, specOf({ CPU: 1, GPU: 1, disk: 1 }), 1);
    node.block(a);
    expect(availableResources(node.state)).toEqual({ CPU: 1, GPU: 0, disk: 0 });
  });
});

describe("tasks without CPU", () => {
  it("run a few at once, and one more each time others wait for long", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const spec = specOf({});
    node.run("driver", 1, spec, 50);
    expect(node.leases.size).toBe(4);
    node.advance(1000);
    node.startAll();
    expect(node.leases.size).toBe(5);
    node.advance(2000);
    node.startAll();
    expect(node.leases.size).toBe(6);
    for (const lease of [...node.leases.values()]) node.giveBack(lease);
    expect(node.leases.size).toBe(4);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
  });

  it("that are blocked make room for others", () => {
    const node = new Harness({ CPU: 0 });
    node.job();
    for (const lease of node.run("driver", 1, specOf({}), 4)) node.block(lease);
    node.run("driver", 2, specOf({}), 4);
    expect(node.leases.size).toBe(8);
    expect(node.of("startWorker").length).toBe(5);
  });
});

describe("idle workers", () => {
  it("beyond the CPUs are asked to exit after a second, the longest idle first", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    const leases = node.run("driver", 1, specOf({ CPU: 0.25 }), 4);
    node.demand("driver", 1, 0);
    for (const lease of leases) {
      node.giveBack(lease);
      node.now += 10;
    }
    expect(node.of("tryExit", node.advance(900))).toEqual([]);
    const asked = node.of("tryExit", node.advance(200)).map((effect) => effect.workerId);
    expect(asked).toEqual(leases.slice(0, 3).map((lease) => lease.workerId));
    expect(node.of("tryExit", node.advance(5000))).toEqual([]);
  });

  it("that a living job was prestarted with are kept", () => {
    const node = new Harness({ CPU: 2 });
    node.job("job1", 2);
    node.job("job2", 2);
    node.startAll();
    expect(node.of("tryExit", node.advance(5000))).toEqual([]);
    node.send({ kind: "jobEnded", jobId: "job2" as JobId });
    expect(node.of("stopWorker").length).toBe(2);
  });

  it("that answer that they must live on are used again, and asked again later", () => {
    const node = new Harness({ CPU: 0 });
    node.job();
    const [lease] = node.run("driver", 1, specOf({}), 1);
    node.giveBack(lease);
    expect(node.of("tryExit", node.advance(1000)).length).toBe(1);
    node.demand("driver", 1, 1);
    expect(node.starts.length).toBe(1); // the one asked may be gone already
    node.demand("driver", 1, 0);
    node.send({ kind: "workerStays", workerId: lease.workerId });
    const [again] = node.of("grant", node.demand("driver", 1, 1));
    expect(again.workerId).toBe(lease.workerId);
    node.giveBack(again);
    node.starts.length = 0;
    expect(node.of("tryExit", node.advance(5000))).toEqual([]);
    expect(node.of("tryExit", node.advance(5000)).length).toBe(1);
  });

  it("of another env make room when there are many processes", () => {
    const node = new Harness({ CPU: 4 });
    node.job();
    const leases = node.run("driver", 1, specOf({ CPU: 0.25 }), 16);
    node.demand("driver", 1, 0);
    node.giveBack(leases[3]);
    const effects = node.run("driver", 2, specOf({ CPU: 0.25 }, { runtimeEnv: envOf("x") }), 1);
    expect(node.of("tryExit").map((effect) => effect.workerId)).toEqual([leases[3].workerId]);
    expect(effects.length).toBe(1);
  });
});

describe("process starts", () => {
  it("that fail are tried again after a pause, and the job is told when it goes on", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    node.define("driver", 1, oneCpu);
    node.demand("driver", 1, 1);
    for (let i = 0; i < 3; i++) {
      const start = node.starts.shift();
      node.send({ kind: "startFailed", token: start?.token as number, permanent: false, text: "no memory" });
      expect(node.starts.length).toBe(0);
      node.advance(1000);
      expect(node.starts.length).toBe(1);
    }
    expect(node.of("warn")).toEqual([]);
    node.send({ kind: "startFailed", token: node.starts.shift()?.token as number, permanent: false, text: "no memory" });
    expect(node.of("warn").map((warn) => warn.text)).toEqual([
      "A worker process could not be started 4 times in a row and is tried again: no memory",
    ]);
    node.advance(10_000);
    node.startAll();
    expect(node.leases.size).toBe(1);
  });

  it("that can never succeed fail what waits for them", () => {
    const node = new Harness({ CPU: 2 });
    node.job();
    const spec = specOf({ CPU: 1 }, { runtimeEnv: envOf("x") });
    node.define("driver", 1, spec);
    node.demand("driver", 1, 5);
    node.placeActor("actor1", spec);
    const start = node.starts.shift();
    const effects = node.send({ kind: "startFailed", token: start?.token as number, permanent: true, text: "no such package" });
    expect(node.of("unschedulable", effects)).toMatchObject([
      { ownerId: "driver", classId: 1, reason: "runtime env", text: "no such package" },
    ]);
    expect(availableResources(node.state)).toEqual({ CPU: 2 - 1 }); // the actor has its turn, and its own start
  });

  it("of a job that ended meanwhile end", () => {
    const node = new Harness({ CPU: 1 });
    node.job("job1", 1);
    node.send({ kind: "jobEnded", jobId: "job1" as JobId });
    node.startAll();
    expect(node.of("tryExit", node.advance(1000)).length).toBe(1);
  });
});
