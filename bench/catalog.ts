/**
 * What is measured: every benchmark's name, what one operation of it is, and what it should reach.
 *
 * Names and operations of the rows with `ray: true` and no `ours` are those of `ray microbenchmark` (Ray 2.58, `ray_perf.py`), so that the two
 * columns compare like with like. Nothing here is measured or gated: cases/ measure, report.ts compares.
 */

export type Unit = "/s" | "GB/s" | "ms" | "us" | "MB" | "bytes" | "%";

/** What a benchmark should reach; each is judged against figures of the same run. */
export type Target =
  | { readonly kind: "times Ray"; readonly factor: number }
  /** Against the fastest of the thread pools, however it is configured. */
  | { readonly kind: "times the best pool"; readonly factor: number }
  /** Against piscina as it comes. */
  | { readonly kind: "times piscina"; readonly factor: number }
  /** Against the reference that the case measured itself, e.g. a plain copy. */
  | { readonly kind: "share of reference"; readonly factor: number; readonly of: string }
  | { readonly kind: "below"; readonly value: number };

/** Jobs that peers/jobs.ts runs on the thread pools. */
export type PeerJob = "batch" | "latency" | "array";

export interface Benchmark {
  readonly name: string;
  readonly op: string;
  readonly unit: Unit;
  /** True: ray/measure.py knows it. A text: why Ray is not measured. */
  readonly ray: true | string;
  readonly peer?: PeerJob;
  /** Measured between hosts of the tests' lab (lab/transfer.ts). */
  readonly inLab?: true;
  readonly targets?: readonly Target[];
}

const timesRay = (factor: number): Target => ({ kind: "times Ray", factor });
const below = (value: number): Target => ({ kind: "below", value });

/** Ray's microbenchmarks, in Ray's order. */
const raysOwn: readonly Benchmark[] = [
  { name: "single client get calls (Plasma Store)", op: "get of one put int", unit: "/s", ray: true, targets: [timesRay(100)] },
  { name: "single client put calls (Plasma Store)", op: "put(0)", unit: "/s", ray: true, targets: [timesRay(200)] },
  { name: "multi client put calls (Plasma Store)", op: "put(0); 10 tasks of 100", unit: "/s", ray: true },
  { name: "single client put gigabytes", op: "put of 100 Mi zeroed int64, counted as 0.8 GB", unit: "GB/s", ray: true },
  { name: "single client tasks and get batch", op: "1,000 tasks, then get of all", unit: "/s", ray: true },
  {
    name: "multi client put gigabytes",
    op: "put of 10 Mi zeroed int64, counted as 0.08 GB; 10 tasks of 10",
    unit: "GB/s",
    ray: true,
  },
  {
    name: "single client get object containing 10k refs",
    op: "get of a list of 10,000 refs",
    unit: "/s",
    ray: true,
    targets: [timesRay(10)],
  },
  {
    name: "single client wait 1k refs",
    op: "1,000 tasks, then 1,000 waits for one",
    unit: "/s",
    ray: true,
    targets: [timesRay(50)],
  },
  { name: "single client tasks sync", op: "one task, get", unit: "/s", ray: true, targets: [timesRay(25)] },
  { name: "single client tasks async", op: "task; 1,000, then get of all", unit: "/s", ray: true, targets: [timesRay(100)] },
  { name: "multi client tasks async", op: "task; 4 actors submit and get 10,000 each", unit: "/s", ray: true },
  { name: "1:1 actor calls sync", op: "one call, get", unit: "/s", ray: true, targets: [timesRay(15)] },
  { name: "1:1 actor calls async", op: "call; 1,000, then get of all", unit: "/s", ray: true, targets: [timesRay(40)] },
  { name: "1:1 actor calls concurrent", op: "the same, maxConcurrency 16", unit: "/s", ray: true },
  { name: "1:n actor calls async", op: "call; one actor calls CPUs/2 actors 5,000 times each", unit: "/s", ray: true },
  {
    name: "n:n actor calls async",
    op: "call; 4 tasks call CPUs/2 actors in turn, 5,000 calls each",
    unit: "/s",
    ray: true,
    targets: [timesRay(20)],
  },
  {
    name: "n:n actor calls with arg async",
    op: "call; CPUs/2 actors call an actor each 1,000 times with one put ref",
    unit: "/s",
    ray: true,
    targets: [timesRay(20)],
  },
  { name: "1:1 async-actor calls sync", op: "one call of an async method, get", unit: "/s", ray: true },
  { name: "1:1 async-actor calls async", op: "call; 1,000, then get of all", unit: "/s", ray: true },
  { name: "1:1 async-actor calls with args async", op: "the same with an int", unit: "/s", ray: true },
  { name: "1:n async-actor calls async", op: "as 1:n", unit: "/s", ray: true },
  { name: "n:n async-actor calls async", op: "as n:n", unit: "/s", ray: true },
  {
    name: "placement group create/removal",
    op: "group of one bundle; 100 made, waited for, removed",
    unit: "/s",
    ray: true,
    targets: [timesRay(20)],
  },
];

/** What Ray's own set does not show. */
const beyond: readonly Benchmark[] = [
  {
    name: "no-op tasks in batches",
    op: "task that does nothing; 1,000, then get of all",
    unit: "/s",
    ray: true,
    peer: "batch",
    targets: [timesRay(100), { kind: "times the best pool", factor: 2.5 }],
  },
  {
    name: "no-op task alone, p50",
    op: "one task that does nothing, get",
    unit: "us",
    ray: true,
    peer: "latency",
    targets: [{ kind: "times piscina", factor: 1.5 }],
  },
  {
    name: "80 MB argument to 8 tasks",
    op: "put of 80 MB, 8 tasks that read both ends of it, get of all",
    unit: "ms",
    ray: true,
    peer: "array",
    targets: [below(130)],
  },
  {
    name: "put 800 MB, steady state",
    op: "put of 800 MB of random doubles, released before the next",
    unit: "GB/s",
    ray: true,
    targets: [{ kind: "share of reference", factor: 0.7, of: "a plain copy" }],
  },
  {
    name: "get 800 MB in another process",
    op: "get inside a task of a ref that came inside a list",
    unit: "ms",
    ray: true,
    targets: [below(2)],
  },
  {
    name: "memory added by 8 readers of 800 MB",
    op: "peak of shared plus private memory of all processes over that before the tasks, as a share of the array",
    unit: "%",
    ray: "its processes are not ours to walk",
    targets: [below(5)],
  },
  {
    name: "init() to first result",
    op: "a program of its own: init(), one task, get",
    unit: "ms",
    ray: true,
    targets: [below(500)],
  },
  {
    name: "idle cluster with 2 workers",
    op: "proportional share (PSS) of all processes, driver included, two seconds after a task on each worker",
    unit: "MB",
    ray: true,
    targets: [below(250)],
  },
  {
    name: "1,000,000 queued tasks",
    op: "driver's memory per task when all are submitted and none has run; then all complete in Node's default heap",
    unit: "bytes",
    ray: "at its rate of tasks this takes 20 to 30 minutes",
    targets: [below(1000)],
  },
];

const ownCluster = "clusters of several nodes are made by the case itself";
const allHere = "all on this machine: shows what distribution costs";

/** Clusters of several nodes; each name begins with `cluster:`. */
const cluster: readonly Benchmark[] = [
  ...[1, 2, 4].map(
    (count): Benchmark => ({
      name: `cluster: tasks async, ${count} ${count === 1 ? "node" : "nodes"}`,
      op: `task that does nothing; 1,000, then get of all; SPREAD over ${count} of 1 CPU, ${allHere}`,
      unit: "/s",
      ray: ownCluster,
    }),
  ),
  {
    name: "cluster: actor creation, 2 nodes",
    op: `actor of no CPU; 16, SPREAD, and a call of each; ${allHere}`,
    unit: "/s",
    ray: ownCluster,
  },
  {
    name: "cluster: node loss to first retry",
    op: "from the kill of a node's daemon to the start of the second attempt of a task there, on a node with an idle worker",
    unit: "ms",
    ray: ownCluster,
  },
  {
    name: "cluster: broadcast of 1 GB to 8 nodes",
    op: `one task on each reads an array that the driver put (--broadcast-mb for less); bytes received by all; ${allHere}`,
    unit: "GB/s",
    ray: ownCluster,
  },
  {
    name: "cluster: 1 GB from host to host",
    op: "a task on the other host reads the end of an array that the driver put; hosts are network namespaces joined by a bridge",
    unit: "GB/s",
    ray: ownCluster,
    inLab: true,
    targets: [{ kind: "share of reference", factor: 0.7, of: "iperf3" }],
  },
  ...[250, 1000].flatMap((count): Benchmark[] => [
    {
      name: `cluster: head's processor, ${count} idle nodes`,
      op: "time of the head's daemon as a share of one processor; the nodes are connections that join and send heartbeats",
      unit: "%",
      ray: ownCluster,
    },
    {
      name: `cluster: head's memory, ${count} idle nodes`,
      op: "proportional share (PSS) of the head's daemon, with the same nodes",
      unit: "MB",
      ray: ownCluster,
    },
  ]),
];

export const benchmarks: readonly Benchmark[] = [...raysOwn, ...beyond, ...cluster];

/** Targets of the design that this program cannot measure, for the report. */
export const notMeasured: readonly { readonly name: string; readonly why: string }[] = [
  { name: "Ray's `client:` rows (`ray://`)", why: "there is no remote client here to compare with" },
];
