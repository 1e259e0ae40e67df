import { describe, expect, test } from "vitest";
import type { NodeId } from "../../base/ids.ts";
import { findCluster } from "./find-cluster.ts";
import type { NodeHere } from "./nodes-here.ts";

const node = (change: Partial<NodeHere>): NodeHere => ({
  pid: 1,
  nodeId: "0123456789abcdef" as NodeId,
  clusterId: "c1",
  isHead: true,
  host: "10.0.0.1",
  port: 6379,
  headHost: "10.0.0.1",
  headPort: 6379,
  startedMs: 1,
  paths: { sessionDir: "/s", shmDir: "/m" },
  ...change,
});

const find = (asked: string | undefined, nodes: readonly NodeHere[], environment?: string) =>
  findCluster(asked, { environment, nodes: () => nodes, isThisMachine: (host) => host === "localhost" || host === "10.0.0.1" });

const head = node({});
const other = node({ clusterId: "c2", headPort: 7000, port: 7000 });
const member = node({ isHead: false, host: "10.0.0.2", port: 4444 });

describe("findCluster", () => {
  test("without an address: SHOAL_ADDRESS, else the cluster here, else a new session", () => {
    expect(find(undefined, [])).toEqual({ kind: "new" });
    expect(find(undefined, [head])).toEqual({ kind: "here", node: head });
    expect(find(undefined, [head], "10.0.0.9:1")).toEqual({ kind: "elsewhere", address: { host: "10.0.0.9", port: 1 } });
    expect(find(undefined, [head], "local")).toEqual({ kind: "new" });
    expect(find(undefined, [head], " ")).toEqual({ kind: "here", node: head });
    expect(find(undefined, [head], "auto")).toEqual({ kind: "here", node: head });
  });

  test('"local" is a new session whatever runs; "auto" never is one', () => {
    expect(find("local", [head], "10.0.0.9:1")).toEqual({ kind: "new" });
    expect(find("auto", [head])).toEqual({ kind: "here", node: head });
    expect(() => find("auto", [])).toThrow(/none runs on this machine/);
    expect(() => find("auto", [], "local")).toThrow(/SHOAL_ADDRESS/);
  });

  test("an address means the node of that cluster that runs here, by whatever name this machine has", () => {
    expect(find("10.0.0.1:6379", [other, head])).toEqual({ kind: "here", node: head });
    expect(find("localhost", [other, head])).toEqual({ kind: "here", node: head });
    expect(find("10.0.0.1:7000", [other, head])).toEqual({ kind: "here", node: other });
    expect(find("10.0.0.1:6379", [member, other])).toEqual({ kind: "here", node: member });
    expect(find("10.0.0.1:6379", [member, head])).toEqual({ kind: "here", node: head });
    expect(find("10.0.0.1:6379", [], "local")).toEqual({ kind: "elsewhere", address: { host: "10.0.0.1", port: 6379 } });
  });

  test("a test's cluster is found by its address alone", () => {
    const hidden = node({ clusterId: "c3", headPort: 7001, unlisted: true });
    expect(find(undefined, [hidden])).toEqual({ kind: "new" });
    expect(find(undefined, [hidden, head])).toEqual({ kind: "here", node: head });
    expect(() => find("auto", [hidden])).toThrow(/none runs/);
    expect(find("10.0.0.1:7001", [hidden])).toEqual({ kind: "here", node: hidden });
  });

  test("the address of a node that is not the head's stands for that node", () => {
    const second = node({ nodeId: "bbbbbb0000000000" as NodeHere["nodeId"], isHead: false, host: "10.0.0.2", port: 7777 });
    expect(find(undefined, [head, second], "10.0.0.2:7777")).toEqual({ kind: "here", node: second });
    expect(find(undefined, [head, second], "10.0.0.1:6379")).toEqual({ kind: "here", node: head });
  });

  test("among several clusters somebody must choose, and is told the addresses", () => {
    expect(() => find(undefined, [head, other])).toThrow(/10\.0\.0\.1:6379, 10\.0\.0\.1:7000/);
    expect(find(undefined, [head, other], "10.0.0.1:7000")).toEqual({ kind: "here", node: other });
    expect(find(undefined, [member, head])).toEqual({ kind: "here", node: head });
  });
});
