import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as shoal from "shoal";
import { Cluster } from "shoal/testing";
import { describe, expect, test } from "vitest";
import { shmDirOf } from "../support/ledger.ts";
import { descendantsOf } from "../support/processes.ts";
import { inSession } from "../support/session.ts";
import { openPorts } from "../support/sockets.ts";

const ownPid = shoal.remote(() => process.pid);

/** Modes of everything a session has made, as octal digits, with what they are of. */
function openToOthers(dir: string): string[] {
  const found: string[] = [];
  const look = (path: string): void => {
    const stat = lstatSync(path);
    // What a closed directory holds nobody else can reach; a socket's own mode says nothing then.
    if ((stat.mode & 0o077) !== 0 && stat.isDirectory()) found.push(`${(stat.mode & 0o777).toString(8)} ${path}`);
    if (stat.isDirectory()) for (const name of readdirSync(path)) look(join(path, name));
  };
  look(dir);
  return found;
}

describe("What is open to others", () => {
  test("in a local session is no port and no directory", async () => {
    await inSession({ numCpus: 2 }, async ({ sessionDir }) => {
      const worker = await shoal.get(ownPid.remote());
      const processes = descendantsOf(process.pid).filter(({ command }) => /daemon\.js|shoal worker/.test(command));
      expect(processes.map(({ pid }) => pid)).toContain(worker);
      for (const { pid } of processes) expect(openPorts(pid)).toEqual([]);
      expect(openPorts(process.pid)).toEqual([]);
      for (const dir of [sessionDir, shmDirOf(sessionDir)]) expect(openToOthers(dir)).toEqual([]);
    });
  });

  test("on a node of a cluster is the one port of its daemon", async () => {
    await using cluster = new Cluster();
    const head = await cluster.addNode({ numCpus: 1 });
    const node = await cluster.addNode({ numCpus: 1, resources: { there: 1 } });
    await shoal.init({ address: cluster.address });
    try {
      const worker = await shoal.get(ownPid.options({ resources: { there: 1 } }).remote());
      expect(openPorts(worker)).toEqual([]);
      for (const { pid } of [head, node]) expect(openPorts(pid)).toHaveLength(1);
      for (const { sessionDir, shmDir } of [head, node])
        for (const dir of [sessionDir, shmDir]) expect(openToOthers(dir)).toEqual([]);
    } finally {
      await shoal.shutdown();
    }
  });
});
