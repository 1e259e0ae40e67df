import { describe, expect, test } from "vitest";
import { UsageError } from "./failure.ts";
import { readLabels, readNodeOptions, readResources } from "./node-options.ts";

describe("readNodeOptions", () => {
  test("a head listens on Ray's port unless told otherwise, another node on any", () => {
    expect(readNodeOptions({ head: true })).toMatchObject({ head: null, port: 6379, host: null, numCpus: null, notes: [] });
    expect(readNodeOptions({ head: true, port: "0" }).port).toBe(0);
    expect(readNodeOptions({ address: "10.0.0.1" })).toMatchObject({ head: { host: "10.0.0.1", port: 6379 }, port: 0 });
  });

  test("an empty value counts as absent, as of a variable that is not set", () => {
    const options = readNodeOptions({ head: true, numCpus: "", numGpus: " ", resources: "", labels: "", port: "", address: "" });
    expect(options).toMatchObject({ numCpus: null, numGpus: null, resources: {}, labels: {}, port: 6379 });
  });

  test("of two addresses it takes the first IPv4, and says so", () => {
    const { host, notes } = readNodeOptions({ head: true, nodeIpAddress: "fe80::1 10.0.0.7 10.1.0.7" });
    expect(host).toBe("10.0.0.7");
    expect(notes.join()).toContain("10.0.0.7");
  });

  test("a loopback address is warned of", () => {
    expect(readNodeOptions({ head: true, nodeIpAddress: "127.0.1.1" }).notes.join()).toContain("127.0.1.1");
    expect(readNodeOptions({ head: true, nodeIpAddress: "10.0.0.7" }).notes).toEqual([]);
  });

  test("numbers are read as they are, also broken ones", () => {
    expect(readNodeOptions({ head: true, numCpus: "2.5", objectStoreMemory: "1e9", joinTimeout: "3" })).toMatchObject({
      numCpus: 2.5,
      objectStoreMemory: 1e9,
      joinTimeoutMs: 3000,
    });
  });

  test.each([
    [{}, "--head"],
    [{ head: true, address: "a:1" }, "--head with --address"],
    [{ head: true, numCpus: "-1" }, "--num-cpus"],
    [{ head: true, numCpus: "1e300" }, "--num-cpus"],
    [{ head: true, numGpus: "1e300" }, "--num-gpus"],
    [{ head: true, memory: "1e300" }, "--memory"],
    [{ head: true, resources: '{"tape": 1e999}' }, "--resources"],
    [{ head: true, numGpus: "one" }, "--num-gpus"],
    [{ head: true, port: "70000" }, "--port"],
    [{ head: true, port: "1.5" }, "--port"],
    [{ address: "host:port" }, "host:port"],
    [{ head: true, resources: "[1]" }, "--resources"],
    [{ head: true, labels: "zone" }, "--labels"],
  ])("%j is wrong usage", (flags, named) => {
    expect(() => readNodeOptions(flags)).toThrow(UsageError);
    expect(() => readNodeOptions(flags)).toThrow(named);
  });
});

test("readResources takes JSON of amounts, and leaves CPU and GPU to their own options", () => {
  expect(readResources('{"slot": 2, "half": 0.5}')).toEqual({ slot: 2, half: 0.5 });
  for (const text of ["{", "3", "null", '{"slot": "2"}', '{"slot": -1}', '{"CPU": 1}', '{"GPU": 1}'])
    expect(() => readResources(text), text).toThrow(UsageError);
});

test("readLabels takes pairs or JSON", () => {
  expect(readLabels("zone=a, disk=ssd,empty=")).toEqual({ zone: "a", disk: "ssd", empty: "" });
  expect(readLabels('{"zone": "a"}')).toEqual({ zone: "a" });
  expect(() => readLabels('{"zone": 1}')).toThrow(UsageError);
  expect(() => readLabels("=a")).toThrow(UsageError);
});
