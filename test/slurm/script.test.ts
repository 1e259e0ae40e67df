/**
 * The script of the notes on Ray (ray-script.sbatch: their lines unmodified, then a driver and `wait`) under a real Slurm, and what such scripts
 * run into: cancels, time limits, lost nodes, two jobs on one node, a head that comes late, addresses that are of no use.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { processesMentioning } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";
import { type Account, leftOn, makeAccount } from "./account.ts";
import { SlurmLab, slurmSupported } from "./slurm-lab.ts";

const reason = slurmSupported();
const title = (name: string) => (reason === null ? name : `${name} (skipped: ${reason})`);
const rayScript = { path: join(import.meta.dirname, "ray-script.sbatch") };
const threeNodes = ["-N3", "--exclusive"];

let slurm: SlurmLab;
let account: Account;

const submit = (script: { path: string } | { text: string }, args: readonly string[] = threeNodes) =>
  slurm.sbatch(script, args, account.env);

/** A script like that of the notes, without its sleeps, so that whatever comes first comes first. */
function script(lines: string): { text: string } {
  return { text: `#!/bin/bash\nhead=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -1)\n${lines}\n` };
}
const startHead = (options = "") =>
  `srun --nodes=1 --ntasks=1 -w "$head" ray start --head --node-ip-address="$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address)" --port=6379 ${options} --block`;

const startNode = (node: string, options = "") =>
  `srun --nodes=1 --ntasks=1 -w ${node} ray start --address "\${ip_head:-$(getent hosts "$head" | cut -d' ' -f1):6379}" ${options} --block`;
/** Until the cluster has so many nodes; the job's step on the head's node looks. */
const waitForNodes = (count: number) => `SHOAL_NODES=${count} node members.mjs`;

/** After a job nothing of the runtime is on any node, within the time that the job has between SIGTERM and SIGKILL. */
async function expectNothingLeft(): Promise<void> {
  for (const node of slurm.nodes.filter(({ isUp }) => isUp)) {
    let left: string[] = [];
    await waitFor(
      `nothing to be left on ${node.name}`,
      async () => {
        left = await leftOn(node);
        return left.length === 0;
      },
      15_000,
      200,
    ).catch((error) => {
      throw new Error(`${(error as Error).message}\n${left.join("\n")}`);
    });
  }
}

async function begin(options: Parameters<typeof SlurmLab.up>[0] = {}): Promise<void> {
  slurm = await SlurmLab.up({ nodeTimeoutSeconds: 6, ...options });
  account = makeAccount(join(slurm.lab.shared, "home"), slurm.workDir);
}
async function end(): Promise<void> {
  await slurm?.destroy();
  if (slurm) expect(processesMentioning(slurm.lab.id)).toEqual([]);
}

describe.skipIf(reason !== null)(title("Slurm: the script of the notes"), () => {
  beforeAll(() => begin());
  afterAll(end);
  afterEach(async () => {
    await slurm.idle();
    await expectNothingLeft();
  });

  test("runs unmodified on three nodes, with all their CPUs, and a cancel ends all of it", async () => {
    const id = await submit(rayScript);
    await slurm.printed(id, "driver done", 90_000);
    const output = slurm.output(id);
    expect(output).toContain("IP Head: 10.77.0.12:6379\n");
    expect(output).toContain("nodes 3 cpus 6\nsquares 0 1 4 9 16 25\nhosts node1 node2 node3\n");
    await slurm.scancel(String(id)); // its `wait` is for nodes that run until they are told to end
    await slurm.reached(id, ["CANCELLED"]);
  });

  test("the time limit ends it with nothing left, although a driver is at work", async () => {
    writeFileSync(join(slurm.workDir, "busy.mjs"), busyDriver);
    const id = await submit(script(`${startHead()} &\n${waitForNodes(1)}\nnode busy.mjs\nwait`), [...threeNodes, "--time=0:01"]);
    await slurm.printed(id, "busy");
    await slurm.reached(id, ["TIMEOUT"], 120_000);
  });

  test("nodes that start before their head wait for it, for a bounded time", async () => {
    const id = await submit(
      script(`${startNode("node2")} &
${startNode("node3")} &
while ! scontrol show steps "$SLURM_JOB_ID" | grep -q node3; do sleep 0.1; done
${startHead()} &
${waitForNodes(3)}
node driver.mjs`),
    );
    await slurm.reached(id, ["COMPLETED"], 90_000);
    expect(slurm.output(id)).toContain("hosts node1 node2 node3\n");
  });

  test("a node whose head never comes says what it tried, and fails", async () => {
    const id = await submit(
      script(`export SHOAL_AUTH_TOKEN=0123456789abcdef0123456789abcdef\n${startNode("node2", "--join-timeout=3")}`),
    );
    await slurm.reached(id, ["FAILED"], 60_000);
    expect(slurm.output(id)).toMatch(/Cannot join the cluster at 10\.77\.0\.12:6379 in \d+ s \(\d+ tries\)/);
  });

  test("a second job on the head's node is told that its port is taken, and its nodes do not join the first job's cluster", async () => {
    const first = await submit(script(`${startHead()} &\n${waitForNodes(1)}\necho ready\nwait`), [
      "-N1",
      "-n1",
      "-c1",
      "-w",
      "node1",
    ]);
    await slurm.printed(first, "ready");
    const second = await submit(
      script(`${startHead()}\necho "head ended with $?"\n${startNode("node2", "--join-timeout=3")}\necho "node ended with $?"`),
      ["-N2", "--ntasks-per-node=1", "-c1", "-w", "node1,node2"],
    );
    await slurm.ended(second, 60_000);
    expect(slurm.output(second)).toMatch(/6379/);
    expect(slurm.output(second)).toMatch(/head ended with [1-9]/);
    expect(slurm.output(second)).toMatch(/node ended with [1-9]/);
    const status = await slurm.nodes[0].must(["ray", "status", "--address", "10.77.0.12:6379", "--json"], { env: account.env });
    expect(status).not.toContain("node2");
    await slurm.scancel(String(first));
    await slurm.reached(first, ["CANCELLED"]);
  });
});

const busyDriver = `
import * as shoal from "shoal";
await shoal.init();
const spin = shoal.remote(async () => { for (;;) await new Promise((resolve) => setImmediate(resolve)); });
const refs = [spin.remote(), spin.remote()];
await shoal.wait(refs, { timeoutMs: 1_000 });
console.log("busy");
await shoal.get(refs);
`;
