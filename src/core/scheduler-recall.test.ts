import { describe, expect, it } from "vitest";
import type { LeaseId } from "../base/ids.ts";
import { availableResources } from "./scheduler.ts";
import { Harness, specOf } from "./scheduler-harness.ts";

const oneCpu = specOf({ CPU: 1 });

/** A node of `cpus` whose workers are all started. */
function ready(cpus: number, jobs = ["job1"]): Harness {
  const node = new Harness({ CPU: cpus });
  for (const job of jobs) node.job(job, cpus);
  node.startAll();
  return node;
}

const recalled = (node: Harness): LeaseId[] => node.of("recall").map((recall) => recall.leaseId);

/** The owners of the leases called back do what they are asked. */
function answerRecalls(node: Harness): number {
  let answered = 0;
  for (const leaseId of recalled(node)) {
    const lease = node.leases.get(leaseId);
    if (lease === undefined) continue;
    node.giveBack(lease);
    answered++;
  }
  return answered;
}

describe("recall of leases that may be idle", () => {
  it("is at once, for as many as are wanted and no more", () => {
    const node = ready(4);
    node.run("driver", 1, oneCpu, 4);
    node.demand("driver", 1, 0);
    node.run("driver", 2, oneCpu, 2);
    expect(recalled(node).length).toBe(2);
    answerRecalls(node);
    node.startAll();
    expect([...node.leases.values()].filter((lease) => lease.classId === 2).length).toBe(2);
    node.advance(1000);
    expect(recalled(node).length).toBe(2);
  });

  it("does not happen for a backlog of the same class", () => {
    const node = ready(2);
    node.run("driver", 1, oneCpu, 50);
    node.advance(5000);
    expect(recalled(node)).toEqual([]);
  });

  it("does not happen when it would not help", () => {
    const node = new Harness({ CPU: 2, GPU: 1 });
    node.job("job1", 2);
    node.startAll();
    node.placeActor("actor1", specOf({ GPU: 1 }), { GPU: 1 });
    node.startAll();
    node.run("driver", 1, oneCpu, 2);
    node.demand("driver", 1, 0);
    node.run("driver", 2, specOf({ CPU: 1, GPU: 1 }), 1);
    node.advance(5000);
    expect(recalled(node)).toEqual([]);
  });

  it("goes on to the next lease when the first does not come back soon", () => {
    const node = ready(2);
    node.run("driver", 1, oneCpu, 2);
    node.demand("driver", 1, 0);
    node.run("driver", 2, oneCpu, 1);
    expect(recalled(node).length).toBe(1);
    node.advance(10);
    expect(recalled(node).length).toBe(2);
  });
});

describe("recall of busy leases", () => {
  it("shares the CPUs equally among jobs, after the first had them for a moment", () => {
    const node = ready(4, ["job1", "job2"]);
    node.run("driver1", 1, oneCpu, 100);
    node.run("driver2", 1, oneCpu, 100, "job2");
    expect(recalled(node)).toEqual([]);
    node.advance(19);
    expect(recalled(node)).toEqual([]);
    node.advance(1);
    expect(recalled(node).length).toBe(2);
    answerRecalls(node);
    const share = (owner: string): number => [...node.leases.values()].filter((lease) => lease.ownerId === owner).length;
    expect([share("driver1"), share("driver2")]).toEqual([2, 2]);
    node.advance(10_000);
    expect(recalled(node).length).toBe(2);
  });

  it("lets jobs take turns on the only CPU", () => {
    const node = ready(1, ["job1", "job2"]);
    node.run("driver1", 1, oneCpu, 100);
    node.run("driver2", 1, oneCpu, 100, "job2");
    for (let i = 0; i < 10; i++) {
      node.advance(25);
      answerRecalls(node);
      node.startAll();
    }
    const owners = node.of("grant").map((grant) => grant.ownerId);
    expect(owners.slice(0, 6)).toEqual(["driver1", "driver2", "driver1", "driver2", "driver1", "driver2"]);
  });

  it("keeps an endless backlog of one class from starving another class or a nested owner", () => {
    const node = ready(1);
    node.run("driver", 1, oneCpu, 100);
    node.run("driver", 2, oneCpu, 1);
    node.run("worker7", 1, oneCpu, 1);
    for (let i = 0; i < 4; i++) {
      node.advance(25);
      answerRecalls(node);
    }
    const served = node.of("grant").map((grant) => `${grant.ownerId} ${grant.classId}`);
    expect(served.slice(0, 4)).toEqual(["driver 1", "driver 2", "worker7 1", "driver 1"]);
  });

  it("calls back another one when the first runs a long task", () => {
    const node = ready(2, ["job1", "job2"]);
    node.run("driver1", 1, oneCpu, 100);
    node.run("driver2", 1, oneCpu, 1, "job2");
    node.advance(20);
    expect(recalled(node).length).toBe(1);
    node.advance(99);
    expect(recalled(node).length).toBe(1);
    node.advance(2);
    expect(recalled(node).length).toBe(2);
  });

  it("makes room for an actor and for a placement group", () => {
    const node = ready(2);
    node.run("driver", 1, oneCpu, 100);
    node.placeActor("actor1", oneCpu);
    node.createGroup("group1", [{ CPU: 1 }]);
    node.advance(30);
    answerRecalls(node);
    node.startAll();
    expect(node.of("actorPlaced").length).toBe(1);
    expect(node.of("groupCreated").length).toBe(1);
  });
});

describe("a large claim", () => {
  it("has two leases called back and gets what they held", () => {
    const node = ready(2);
    node.run("driver", 1, oneCpu, 100);
    node.run("driver", 2, specOf({ CPU: 2 }), 1);
    node.advance(20);
    expect(recalled(node).length).toBe(2);
    node.advance(200);
    answerRecalls(node);
    expect(node.of("grant").at(-1)?.classId).toBe(2);
  });

  it("is not overtaken for ever: what becomes free is held back for it", () => {
    const node = ready(2, ["job1", "job2"]);
    node.run("driver1", 1, oneCpu, 100);
    node.run("driver2", 1, specOf({ CPU: 2 }), 1, "job2");
    node.advance(150);
    const [first, second] = [...node.leases.values()];
    node.giveBack(first);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    node.advance(5000);
    node.giveBack(second);
    expect(node.of("grant").at(-1)?.ownerId).toBe("driver2");
  });

  it("whose turn does not come in time lets others pass for a while", () => {
    const node = ready(2, ["job1", "job2"]);
    node.run("driver1", 1, oneCpu, 100);
    node.run("driver2", 1, specOf({ CPU: 2 }), 1, "job2");
    node.advance(150);
    const [first] = [...node.leases.values()];
    node.giveBack(first);
    expect(node.leases.size).toBe(1);
    node.advance(10_000);
    expect(node.leases.size).toBe(2);
    node.advance(2000);
    node.giveBack([...node.leases.values()][1]);
    expect(node.leases.size).toBe(1);
  });

  it("that an actor keeps from running does not keep others from running", () => {
    const node = ready(2);
    node.placeActor("actor1", oneCpu, { CPU: 1 });
    node.startAll();
    node.run("driver", 2, specOf({ CPU: 2 }), 1);
    node.advance(1000);
    const [lease] = node.run("driver", 1, oneCpu, 2);
    node.giveBack(lease);
    expect(node.leases.size).toBe(1);
  });
});
