/** Sessions and what belongs to them: placement groups, the start, and what an idle one costs. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as shoal from "shoal";
import { median, rate } from "../harness.ts";
import type { Measurement, Scale } from "../measurement.ts";
import { type Case, inSession } from "./session.ts";

const runFile = promisify(execFile);

export const clusterCases: Readonly<Record<string, Case>> = {
  "placement group create/removal": inSession((scale) => {
    const count = scale.small ? 10 : 100;
    return rate(scale, () => createAndRemove(count), count);
  }),
  "init() to first result": startUp,
  "idle cluster with 2 workers": idleMemory,
};

async function createAndRemove(count: number): Promise<void> {
  const groups = Array.from({ length: count }, () => shoal.placementGroup([{ custom: 0.001 }]));
  for (const group of groups) await group.wait({ timeoutMs: 30_000 });
  for (const group of groups) await shoal.removePlacementGroup(group);
}

async function startUp(scale: Scale): Promise<Measurement> {
  const runs: number[] = [];
  const imports: number[] = [];
  for (let i = 0; i < (scale.small ? 1 : 7); i++) {
    const { importMs, firstResultMs } = await runProgram("start-up.mjs");
    runs.push(firstResultMs);
    imports.push(importMs);
  }
  return { value: median(runs), runs, note: `plus ${median(imports).toFixed(0)} ms to import the package` };
}

async function idleMemory(scale: Scale): Promise<Measurement> {
  const use = await runProgram("idle.mjs", String(scale.small ? 0 : 2000));
  const clusterMb = (use.pssBytes - use.driverPssBytes) / 1e6;
  return {
    value: use.pssBytes / 1e6,
    runs: [],
    note: `${use.processCount} processes; ${clusterMb.toFixed(0)} MB without the driver; private ${(use.privateBytes / 1e6).toFixed(0)} MB`,
  };
}

/** A program as a user starts it: its last line of output is its result. */
async function runProgram(name: string, ...args: string[]): Promise<any> {
  const { stdout } = await runFile(process.execPath, [fileURLToPath(new URL(name, import.meta.url)), ...args]);
  return JSON.parse(stdout.trim().split("\n").at(-1) as string);
}
