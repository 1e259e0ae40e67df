import { describe, expect, it } from "vitest";
import type { NodeId } from "../../base/ids.ts";
import type { Joined, JoinInfo, NodeMessage } from "../../wire/node-messages.ts";
import { NodeKind } from "../../wire/node-messages.ts";
import { HeadWatch } from "./head-watch.ts";

const headId = "head" as NodeId;
const accepted: Joined = { clusterId: "cluster", headNodeId: headId, nodes: [] };

/** The connections of a node to its head, played by the test. */
class Play {
  readonly events: string[] = [];
  private answerJoin: ((answer: Joined) => void) | null = null;
  private asked: () => void = () => {};
  readonly watch = new HeadWatch(
    {
      dial: async () => headId,
      request: (_to, method, _params, _timeoutMs, taken) =>
        new Promise((resolve) => {
          this.events.push(`asks to ${method}`);
          this.answerJoin = (answer) => {
            taken?.(answer);
            resolve(answer);
          };
          this.asked();
        }),
      send: (_to, message) => void this.events.push(message[0] === NodeKind.Heartbeat ? "heartbeat" : "message"),
      drop: () => {},
      isOpen: () => true,
    },
    "head.example",
    1,
    {
      joinInfo: () => ({}) as JoinInfo,
      heartbeat: (sequence) => [NodeKind.Heartbeat, sequence, {}, [], 0] as NodeMessage,
      joined: () => void this.events.push("joined"),
      interrupted: () => void this.events.push("interrupted"),
      lost: (reason) => void this.events.push(`lost: ${reason}`),
    },
  );

  /** Resolves when the node has asked to join once more. */
  untilAsked(): Promise<void> {
    return new Promise((resolve) => {
      this.asked = resolve;
    });
  }

  /** What arrives in one piece. */
  arrive(answer: Joined, ...then: (() => void)[]): void {
    this.answerJoin?.(answer);
    for (const next of then) next();
  }

  async join(): Promise<void> {
    const asked = this.untilAsked();
    const joined = this.watch.join(1_000);
    await asked;
    this.arrive(accepted);
    await joined;
  }
}

describe("A node's tie to the head", () => {
  it("takes the answer to its join before the news that came with it", async () => {
    const play = new Play();
    const asked = play.untilAsked();
    const joined = play.watch.join(1_000);
    await asked;
    play.arrive(accepted, () => play.events.push("news"));
    await joined;
    expect(play.events).toEqual(["asks to join", "joined", "heartbeat", "news"]);
    play.watch.close();
  });

  it("joins again when the connection ends right after the answer, also when that was to its coming back", async () => {
    const play = new Play();
    await play.join();
    const back = play.untilAsked();
    play.watch.disconnected(headId, "cut");
    await back;
    const again = play.untilAsked();
    play.arrive(accepted, () => play.watch.disconnected(headId, "cut again"));
    expect(play.watch.isJoined).toBe(false);
    await again;
    play.arrive(accepted);
    expect(play.watch.isJoined).toBe(true);
    expect(play.events.filter((event) => event !== "heartbeat")).toEqual([
      "asks to join",
      "joined",
      "interrupted",
      "asks to join",
      "joined",
      "interrupted",
      "asks to join",
      "joined",
    ]);
    play.watch.close();
  });

  it("has one that tries when the connection ends before it is a member", async () => {
    const play = new Play();
    const asked = play.untilAsked();
    const joined = play.watch.join(1_000);
    await asked;
    play.watch.disconnected(headId, "cut");
    expect(play.events).toEqual(["asks to join"]);
    play.arrive(accepted);
    await joined;
    play.watch.close();
  });
});
