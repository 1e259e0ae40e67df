/** The README's main job, unchanged, on a cluster of three hosts; and again while one of them loses power. */
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { ClusterLab } from "./cluster-lab.ts";
import type { Command } from "./command.ts";
import { labSupported, repository } from "./lab.ts";
import type { LabHost } from "./lab-host.ts";

const reason = labSupported();
const title = reason === null ? "The notes' job on three hosts" : `The notes' job on three hosts (skipped: ${reason})`;
const env = { SHOAL_NODE_TIMEOUT_MS: "4000" };
const arrayBytes = 8_000_000;

let cluster: ClusterLab;

function startNotes(host: LabHost): Command {
  return host.start(["node", join(repository, "node_modules/.bin/tsx"), join(repository, "examples/notes.ts"), "--small"], {
    cwd: repository,
    env: { ...cluster.account.env, SHOAL_ADDRESS: cluster.address },
    timeoutMs: 180_000,
  });
}

/** What the job found out, without how long it took and how much memory was used. */
function answersOf(notes: Command): string[] {
  return notes.stdout
    .split("\n")
    .filter((line) => /^\[ 0, 1, 4, 9 \]|task \d: mean|words; the 10|^ +[\d,]+ {2}\p{L}+$/u.test(line));
}

/** Bytes that have come to the host from others. */
async function bytesReceived(host: LabHost): Promise<number> {
  const counts = await host.must(["sh", "-c", "cat /sys/class/net/*/statistics/rx_bytes"]);
  return counts
    .trim()
    .split("\n")
    .reduce((sum, count) => sum + Number(count), 0);
}

describe.skipIf(reason !== null)(title, () => {
  afterEach(() => cluster.destroy());

  test("gives the same answers with a host less in the middle, and the array reaches each host once", async () => {
    cluster = await ClusterLab.up(["head", "node2", "node3"], 3, { env, shm: "256m" });
    const [head, node2, node3] = cluster.lab.hosts;
    const before = await Promise.all([bytesReceived(node2), bytesReceived(node3)]);
    const whole = startNotes(head);
    await whole.printed("3. Words", 120_000);
    const after = await Promise.all([bytesReceived(node2), bytesReceived(node3)]);
    for (const i of [0, 1]) expect(after[i] - before[i]).toBeLessThan(1.5 * arrayBytes);
    expect(after[0] - before[0] + after[1] - before[1]).toBeGreaterThan(arrayBytes);
    expect((await whole.exited).code).toBe(0);
    const answers = answersOf(whole);
    expect(answers).toHaveLength(1 + 8 + 1 + 10);

    // The array has just been put: it is on its way to the nodes, or read there.
    const disturbed = startNotes(head);
    await disturbed.printed("put in", 120_000);
    await node3.powerOff();
    expect((await disturbed.exited).code).toBe(0);
    expect(answersOf(disturbed)).toEqual(answers);
  });
});
