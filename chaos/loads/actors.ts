/**
 * Actors. What really ran is known from files: each execution of a call appends a line with the instance that ran it and the call's number. So calls with
 * retries are seen to run at least once, those without at most once, and all in the order of the calls.
 */
import { randomBytes } from "node:crypto";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import type { Kind, Round } from "../round.ts";

class Recorder {
  private readonly file: string;
  private readonly instance = randomBytes(6).toString("hex");
  private count = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** Returns which of this instance's calls it was. */
  record(number: number, ms: number): number {
    appendFileSync(this.file, `${this.instance} ${number}\n`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    return ++this.count;
  }
}

class Keeper {
  private kept: shoal.ObjectRef<Float64Array> | null = null;

  keep(box: { readonly ref: shoal.ObjectRef<Float64Array> }): void {
    this.kept = box.ref;
  }

  /** Null in an instance that was started again. */
  async sum(): Promise<number | null> {
    return this.kept === null ? null : (await shoal.get(this.kept)).reduce((a, b) => a + b, 0);
  }

  /** A ref that this actor owns. */
  make(length: number, fill: number): shoal.ObjectRef<Float64Array>[] {
    return [shoal.put(new Float64Array(length).fill(fill))];
  }
}

class Counter {
  private readonly instance = randomBytes(6).toString("hex");
  private count = 0;
  add(): string {
    return `${this.instance}:${++this.count}`;
  }
}

const counters = shoal.remote(Counter, { numCpus: 0 });

/** A call to the actor of that name, which whoever comes first has made. */
async function countByName(name: string): Promise<string> {
  const counter = counters.options({ name, getIfExists: true, lifetime: "detached" }).remote();
  return shoal.get(counter.add.remote());
}

const recorders = shoal.remote(Recorder, { numCpus: 0 });
const keepers = shoal.remote(Keeper, { numCpus: 0, maxRestarts: -1, maxTaskRetries: -1 });
const gone = [shoal.ActorDiedError, shoal.ActorUnavailableError];

/** Where a round may put its actors. */
function anywhere(round: Round): { schedulingStrategy?: "SPREAD" } {
  return round.random.chance(0.7) ? { schedulingStrategy: "SPREAD" } : {};
}

/** Runs `body` with the name of a file, which is gone afterwards, and the executions that it tells of. */
async function withRecord(body: (file: string, executions: () => Execution[]) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "chaos-calls-"));
  const file = join(dir, "executions");
  const read = (): Execution[] => {
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, "utf8").trim().split("\n");
    return lines.map((line) => ({ instance: line.split(" ")[0], number: Number(line.split(" ")[1]) }));
  };
  try {
    await body(file, read);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

interface Execution {
  readonly instance: string;
  readonly number: number;
}

const timesRun = (executions: readonly Execution[], number: number): number =>
  executions.filter((execution) => execution.number === number).length;

/** The first executions of the calls in each instance are in the order of the calls. */
function checkOrder(round: Round, executions: readonly Execution[]): void {
  const highest = new Map<string, number>();
  const seen = new Set<string>();
  for (const { instance, number } of executions) {
    const key = `${instance} ${number}`;
    if (seen.has(key)) continue;
    seen.add(key);
    round.check(
      `call ${number} started after call ${highest.get(instance)} in one instance: ${executions.map((one) => `${one.instance.slice(0, 4)}:${one.number}`).join(" ")}`,
      number > (highest.get(instance) ?? -1),
    );
    highest.set(instance, number);
  }
}

/** Calls in bursts, and what became of each. */
async function callInBursts(
  round: Round,
  actor: shoal.ActorHandle<Recorder>,
  allowed: readonly shoal.ErrorClass[],
): Promise<(number | null)[]> {
  const answers: (number | null)[] = [];
  for (let burst = 0; burst < 4; burst++) {
    const refs = Array.from({ length: 10 }, (_, i) => actor.record.remote(10 * burst + i, round.random.int(40)));
    for (const [i, ref] of refs.entries()) answers.push((await round.outcome(`call ${10 * burst + i}`, ref, allowed)).value);
  }
  return answers;
}

export const actorKinds: readonly Kind[] = [
  {
    name: "actors that restart, with retries",
    lanes: 2,
    async run(round) {
      await withRecord(async (file, executions) => {
        const actor = recorders.options({ ...anywhere(round), maxRestarts: -1, maxTaskRetries: -1 }).remote(file);
        const answers = await callInBursts(round, actor, []);
        if (round.random.chance(0.5)) await round.within("kill()", shoal.kill(actor));
        const ran = executions();
        for (const number of answers.keys()) round.right(`whether call ${number} ran`, timesRun(ran, number) >= 1, true);
        checkOrder(round, ran);
      });
    },
  },
  {
    name: "actors that restart, without retries",
    lanes: 1,
    async run(round) {
      await withRecord(async (file, executions) => {
        const actor = recorders.options({ ...anywhere(round), maxRestarts: -1 }).remote(file);
        const answers = await callInBursts(round, actor, [shoal.ActorUnavailableError]);
        const ran = executions();
        for (const [number, answer] of answers.entries()) {
          const times = timesRun(ran, number);
          if (answer === null) round.check(`call ${number}, which failed, ran ${times} times`, times <= 1);
          else round.right(`how often call ${number} ran`, times, 1);
        }
        checkOrder(round, ran);
      });
    },
  },
  {
    name: "actors that do not restart",
    lanes: 1,
    async run(round) {
      await withRecord(async (file, executions) => {
        const actor = recorders.options(anywhere(round)).remote(file);
        const answers = await callInBursts(round, actor, gone);
        const ran = executions();
        round.check("the actor has been started twice", new Set(ran.map(({ instance }) => instance)).size <= 1);
        let before = 0;
        for (const [number, answer] of answers.entries()) {
          round.check(`call ${number} ran ${timesRun(ran, number)} times`, timesRun(ran, number) <= 1);
          if (answer === null) continue;
          round.check(`call ${number} is the instance's ${answer}th, after its ${before}th`, answer > before);
          round.right(`whether call ${number} ran`, timesRun(ran, number), 1);
          before = answer;
        }
        checkOrder(round, ran);
      });
    },
  },
  {
    name: "actors found by name, made at once by several",
    lanes: 1,
    async run(round) {
      const name = `named-${round.random.int(1_000_000_000)}`;
      const find = shoal.remote(countByName, { maxRetries: -1 });
      const asking = Array.from({ length: 4 }, () => find.remote(name));
      const mine = counters.options({ name, getIfExists: true }).remote();
      const counts: string[] = [];
      for (let i = 0; i < 3; i++) {
        const { value } = await round.outcome("add()", mine.add.remote(), gone);
        if (value !== null) counts.push(value);
      }
      for (const ref of asking) {
        const { value } = await round.outcome("a task's add()", ref, [shoal.TaskError]);
        if (value !== null) counts.push(value);
      }
      round.right("different counts", new Set(counts).size, counts.length);
      await round.within("kill()", shoal.kill(mine));
      const { error } = await round.outcome("a call after kill()", mine.add.remote(), [shoal.ActorDiedError]);
      round.right("whether it is dead", error instanceof shoal.ActorDiedError, true);
      const another = await round.within(
        "getActor()",
        shoal.getActor(name).catch(() => null),
      ); // made when that one had been lost
      if (another !== null) await round.within("kill()", shoal.kill(another));
    },
  },
  {
    name: "actors that are killed at once",
    lanes: 1,
    async run(round) {
      const made = Array.from({ length: 4 }, () => counters.options(anywhere(round)).remote());
      const doomed = made.filter(() => round.random.chance(0.6));
      if (round.random.chance(0.5)) await round.outcome("add()", made[0].add.remote(), gone);
      for (const actor of doomed) await round.within("kill()", shoal.kill(actor));
      for (const actor of made) {
        const { error } = await round.outcome("add()", actor.add.remote(), gone);
        if (doomed.includes(actor)) round.right("whether it is dead", error instanceof shoal.ActorDiedError, true);
        else if (error === null) round.right("its state", true, true);
      }
    },
  },
  {
    name: "refs that actors hold",
    lanes: 1,
    async run(round) {
      const keeper = keepers.options(anywhere(round)).remote();
      const length = 20_000 + round.random.int(200_000);
      const fill = 1 + round.random.int(9);
      const ref = shoal.put(new Float64Array(length).fill(fill));
      await round.value("keep()", keeper.keep.remote({ ref }));
      ref[Symbol.dispose]();
      for (let i = 0; i < 3; i++) {
        const sum = await round.value("sum()", keeper.sum.remote());
        if (sum !== null) round.right("the sum of what it kept", sum, length * fill);
      }
      const [made] = await round.value("make()", keeper.make.remote(length, fill));
      const { value, error } = await round.outcome("the actor's own object", made, [shoal.ObjectLostError]);
      if (error === null)
        round.right(
          "the sum of what it made",
          value.reduce((a, b) => a + b, 0),
          length * fill,
        );
    },
  },
];
