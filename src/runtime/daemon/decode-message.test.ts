import { describe, expect, it } from "vitest";
import { Kind } from "../../wire/index.ts";
import { faultOfMessage, faultOfRequest } from "./decode-message.ts";

const spec = { resources: { CPU: 1 }, strategy: { kind: "default" }, labelSelector: {}, runtimeEnv: null, label: "f" };

describe("messages to the daemon", () => {
  it("passes what processes send", () => {
    expect(faultOfMessage([Kind.DefineClass, 1, spec])).toBe(null);
    expect(
      faultOfMessage([Kind.DefineClass, 1, { ...spec, runtimeEnv: { npm: ["a"], envVars: { A: "b" } }, retriable: false }]),
    ).toBe(null);
    expect(faultOfMessage([Kind.Demand, 1, 256, 0])).toBe(null);
    expect(faultOfMessage([Kind.ActorReady, "a1", 0, null, ""])).toBe(null);
    expect(faultOfRequest("nodes", {})).toBe(null);
  });

  it.each([
    ["an unknown kind", [250]],
    ["a negative demand", [Kind.Demand, 1, -1, 0]],
    ["a demand beyond all bounds", [Kind.Demand, 1, 1e12, 0]],
    ["a demand that is no number", [Kind.Demand, 1, "many", 0]],
    ["resources below zero", [Kind.DefineClass, 1, { ...spec, resources: { CPU: -1 } }]],
    ["resources that are not numbers", [Kind.DefineClass, 1, { ...spec, resources: { CPU: Number.NaN } }]],
    ["a strategy nobody knows", [Kind.DefineClass, 1, { ...spec, strategy: { kind: "best" } }]],
    ["a class without a spec", [Kind.DefineClass, 1]],
    ["events that are not", [Kind.Events, [1, 2]]],
  ])("refuses %s", (_what, message) => {
    expect(faultOfMessage(message)).toMatch(/^Cannot /);
  });

  it.each([
    ["an actor without a placement", "createActor", { actorId: "a" }],
    [
      "a group without bundles",
      "createPlacementGroup",
      { groupId: "g", bundles: [], strategy: "PACK", name: null, detached: false, jobId: "j" },
    ],
    ["parameters that are no record", "nodes", 7],
    ["a key that is no text", "kvPut", { namespace: "n", key: 7 }],
  ])("refuses %s", (_what, method, params) => {
    expect(faultOfRequest(method, params)).toMatch(/^Cannot read the parameters/);
  });
});
