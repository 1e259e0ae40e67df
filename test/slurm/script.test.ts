/**
 * The script of the notes on Ray (ray-script.sbatch: their lines unmodified, then a driver and `wait`) under a real Slurm, and what such scripts
 * run into: cancels, time limits, lost nodes, two jobs on one node, a head that comes late, addresses that are of no use.
 */
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { repository } from "../lab/lab.ts";
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
  `srun --nodes=1 --ntasks=1 -w ${node} ray start --address "\${ip_head:-$(getent ahostsv4 "$head" | head -1 | cut -d' ' -f1):6379}" ${options} --block`;

/** For a job to run, whose tasks go on until there is a file `go`. */
function writeSurvivingDriver(): void {
  rmSync(join(slurm.workDir, "go"), { force: true });
  writeFileSync(join(slurm.workDir, "survive.mjs"), survivingDriver);
}
/** Until the cluster has so many nodes; the job's step on the head's node looks. */
const waitForNodes = (count: number) => `SHOAL_NODES=${count} node members.mjs`;

/** Until a head has made the account's token. */
const untilToken = 'until [ -s "$HOME/.shoal/auth_token" ]; do sleep 0.1; done';

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

  test("nodes that start before their head, in an account without a token, wait for both", async () => {
    rmSync(join(slurm.lab.shared, "home", ".shoal"), { recursive: true, force: true });
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
    expect(slurm.output(id)).toMatch(/Waiting for the cluster's token in .*, which the head at 10\.77\.0\.12:6379 makes/);
  });

  test("a node whose head never comes says what it tried, and fails", async () => {
    const id = await submit(script(`${startNode("node2", "--join-timeout=3")}`));
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

  test("a node that loses its power is given up, its tasks run elsewhere, and the job goes on", async () => {
    writeSurvivingDriver();
    const id = await submit(
      script(`export SHOAL_NODE_TIMEOUT_MS=3000
${startHead()} &
${startNode("node2")} &
${startNode("node3")} &
${waitForNodes(3)}
node survive.mjs`),
      ["-N3", "--exclusive", "--no-kill"],
    );
    await slurm.printed(id, "all at work");
    await slurm.nodes[2].powerOff();
    writeFileSync(join(slurm.workDir, "go"), "");
    await slurm.printed(id, "survived on node1 node2", 60_000);
    await slurm.ended(id, 60_000);
    await slurm.nodes[2].boot();
    await slurm.startNode(slurm.nodes[2]);
  });

  test("SIGUSR1 to all steps, as --signal=USR1@60 sends it: what runs finishes, then the nodes leave, and no process opens its inspector", async () => {
    writeSurvivingDriver();
    const id = await submit(
      script(`${startHead()} &
${startNode("node2")} &
${startNode("node3")} &
${waitForNodes(3)}
node survive.mjs
wait
echo "all nodes ended"`),
    );
    await slurm.printed(id, "all at work");
    await slurm.scancel("--signal=USR1", String(id)); // without --batch: to the steps, as --signal without B: does
    for (const node of slurm.nodes)
      await waitFor(`${node.name} to drain`, async () =>
        (await node.must(["sh", "-c", "cat /tmp/shoal-*/*/logs/daemon.log"])).includes("SIGUSR1"),
      );
    writeFileSync(join(slurm.workDir, "go"), "");
    await slurm.reached(id, ["COMPLETED"], 60_000);
    expect(slurm.output(id)).toContain("survived on node1 node2 node3\n");
    expect(slurm.output(id)).toContain("all nodes ended\n");
    expect(slurm.output(id)).not.toMatch(/debugger|inspector/i);
  });

  test("examples/slurm: one `srun shoal symmetric-run` line runs the program on all nodes and ends with its exit code", async () => {
    copyFileSync(join(repository, "examples", "slurm", "pi.mjs"), join(slurm.workDir, "pi.mjs"));
    const id = await submit({ path: join(repository, "examples", "slurm", "job.sbatch") }, []);
    await slurm.reached(id, ["COMPLETED"], 90_000);
    expect(slurm.output(id)).toMatch(/pi is about 3\.1[34]\d, from 6 CPUs\n/);
    expect(slurm.output(id)).toContain("of node1, node2, node3\n");
    const failing = await submit(
      script('srun shoal symmetric-run --address "$head:6379" --min-nodes 3 -- node -e "process.exit(5)"'),
      [...threeNodes, "--ntasks-per-node=1"],
    );
    expect(await slurm.reached(failing, ["FAILED"], 90_000)).toMatchObject({ exitCode: "5:0" });
  });

  test("under salloc, where SLURM_CPUS_ON_NODE is not set, an empty --num-cpus counts as absent", async () => {
    const lines = script(`export ip_head="$(getent ahostsv4 "$head" | head -1 | cut -d' ' -f1):6379"
ray() { srun --nodes=1 --ntasks=1 -w "$1" ray "\${@:2}"; }
ray "$head" start --head --node-ip-address="\${ip_head%:*}" --port=6379 --num-cpus "\${SLURM_CPUS_ON_NODE}" --block &
ray node2 start --address "$ip_head" --num-cpus "\${SLURM_CPUS_ON_NODE}" --block &
SHOAL_NODES=2 srun --overlap --nodes=1 --ntasks=1 -w "$head" node members.mjs </dev/null # the script is bash's input
head_node_ip=$ip_head node driver.mjs`);
    const said = await slurm.login.must(["salloc", "-N2", "--exclusive", "bash"], {
      cwd: slurm.workDir,
      env: { ...slurm.env, ...account.env },
      input: lines.text,
      timeoutMs: 90_000,
    });
    expect(said).toMatch(/ cpus 4\n/);
    expect(said).toContain("hosts node1 node2\n");
  });
});

describe.skipIf(reason !== null)(title("Slurm: addresses"), () => {
  afterEach(end);

  test("127.0.1.1, Debian's name for the own host: the head warns, the nodes name the address and the cause", async () => {
    await begin({ loopbackNames: true });
    const id = await submit(
      script(
        `${startHead()} &\nip_head=127.0.1.1:6379\n${untilToken}\n${startNode("node2", "--join-timeout=3")}\necho "node ended with $?"`,
      ),
    );
    await slurm.ended(id, 60_000);
    expect(slurm.output(id)).toMatch(/127\.0\.1\.1.*(loopback|this machine)/);
    expect(slurm.output(id)).toMatch(/Cannot join the cluster at 127\.0\.1\.1:6379 in \d+ s/);
    expect(slurm.output(id)).toMatch(/127\.0\.1\.1 is this machine itself/);
    expect(slurm.output(id)).toMatch(/node ended with [1-9]/);
  });

  test("two addresses with a blank between, as `hostname --ip-address` gives them: the first IPv4 is taken; unequal nodes", async () => {
    await begin({ ipv6: true, cpusOf: { node3: 1 } });
    // The notes' lines without their sleeps. They give each node the CPUs of the batch script's node, which are not its own where nodes differ.
    const cpus = '--num-cpus "$SLURM_CPUS_ON_NODE"';
    const id = await submit(
      script(`ip_head="$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address):6379"
echo "IP Head: $ip_head"
${startHead(cpus)} &
${startNode("node2", cpus)} &
${startNode("node3", cpus)} &
${waitForNodes(3)}
node driver.mjs`),
    );
    await slurm.reached(id, ["COMPLETED"], 90_000);
    expect(slurm.output(id)).toMatch(/IP Head: \S+ \S+:6379\n/);
    expect(slurm.output(id)).toContain("nodes 3 cpus 6\n");
    expect(slurm.output(id)).toContain("hosts node1 node2 node3\n");
    await slurm.idle();
    // Without --num-cpus each offers its own.
    const own = await submit(
      script(`${startHead()} &\n${startNode("node2")} &\n${startNode("node3")} &\n${waitForNodes(3)}\nnode driver.mjs`),
    );
    await slurm.reached(own, ["COMPLETED"], 90_000);
    expect(slurm.output(own)).toContain("nodes 3 cpus 5\n");
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

/** Six tasks that run at once on three nodes until the file `go` is there. Run by a job that loses one of the nodes. */
const survivingDriver = `
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import * as shoal from "shoal";
await shoal.init();
let begun = 0;
const Count = shoal.remote(class { begin() { return ++begun; } total() { return begun; } }, { numCpus: 0 });
const count = Count.remote();
const dir = process.cwd();
const hold = shoal.remote(async () => {
  await shoal.get(count.begin.remote());
  while (!existsSync(dir + "/go")) await new Promise((resolve) => setTimeout(resolve, 50));
  return hostname();
}, { schedulingStrategy: "SPREAD" });
const refs = Array.from({ length: 6 }, () => hold.remote());
while ((await shoal.get(count.total.remote())) < 6) await new Promise((resolve) => setTimeout(resolve, 50));
console.log("all at work");
console.log("survived on " + [...new Set(await shoal.get(refs))].sort().join(" "));
await shoal.shutdown();
`;
