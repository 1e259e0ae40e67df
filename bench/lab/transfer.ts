/**
 * The process that measures one host's object on another, in turn with what iperf3 moves between the same two: hosts of the tests' lab, with a network
 * each. Arguments: the scale, the built driver (../programs/transfer.ts). Prints an outcome like every measuring process.
 */
import { ClusterLab } from "../../test/lab/cluster-lab.ts";
import type { Command } from "../../test/lab/command.ts";
import { isCommand, labSupported } from "../../test/lab/lab.ts";
import { median } from "../harness.ts";
import { type Measurement, printOutcome, type Scale, scales } from "../measurement.ts";

const name = "cluster: 1 GB from host to host";
const iperfSeconds = 3;
const waitMs = 60_000;
const [scaleName, driverFile] = process.argv.slice(2);

async function measure(scale: Scale): Promise<Measurement> {
  const reason = labSupported() ?? (isCommand("iperf3") ? null : "needs the command 'iperf3'");
  if (reason !== null) throw new Error(`Cannot make hosts on this machine: ${reason}`);
  const megabytes = scale.small ? 1 : 1_000;
  await using cluster = await ClusterLab.up(["sender", "receiver"], 2, { shm: "4g" });
  const sender = cluster.lab.host("sender");
  const driver = sender.start(["node", driverFile, cluster.address, String(megabytes)], {
    env: cluster.account.env,
    timeoutMs: 10 * waitMs,
  });
  await driver.printed("ready", waitMs);
  const runs: number[] = [];
  const references: number[] = [];
  for (let i = 0; i < (scale.small ? 1 : 7); i++) {
    references.push(await iperfRate(cluster, scale.small ? 1 : iperfSeconds));
    runs.push(megabytes / (await transferMs(driver, i)));
  }
  driver.child.stdin?.end();
  await driver.exited;
  const reference = median(references);
  const share = Math.round((100 * median(runs)) / reference);
  const range = `${Math.min(...references).toFixed(2)} to ${Math.max(...references).toFixed(2)}`;
  return {
    value: median(runs),
    runs,
    reference,
    note: `iperf3 ${reference.toFixed(2)} GB/s (${range}) in turn with it: ${share} %`,
  };
}

/** Of the transfer after `before` others. */
async function transferMs(driver: Command, before: number): Promise<number> {
  driver.child.stdin?.write("next\n");
  const [, ms] = await driver.printed(new RegExp(`^ready\n(?:transferred.*\n){${before}}transferred in (.*) ms\n`), waitMs);
  return Number(ms);
}

/** Gigabytes per second of one TCP connection from sender to receiver. */
async function iperfRate({ lab }: ClusterLab, seconds: number): Promise<number> {
  const receiver = lab.host("receiver");
  const server = receiver.start(["iperf3", "--server", "--one-off", "--forceflush"]);
  await server.printed("Server listening");
  const report = JSON.parse(
    await lab.host("sender").must(["iperf3", "--client", receiver.address, "--time", String(seconds), "--json"]),
  );
  await server.exited;
  return report.end.sum_received.bits_per_second / 8e9;
}

try {
  printOutcome({ name, measurement: await measure(scales[scaleName as keyof typeof scales]) });
} catch (error) {
  printOutcome({ name, failure: (error as Error)?.message ?? String(error) });
}
