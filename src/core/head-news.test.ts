import { describe, expect, it } from "vitest";
import type { JobId, WorkerId } from "../base/ids.ts";
import { NodeKind, type NodeMessage } from "../wire/node-messages.ts";
import { HeadNews } from "./head-news.ts";

const gone = (number: number): NodeMessage => [NodeKind.DriverGone, `w${number}` as WorkerId, "job" as JobId];

describe("news for the head", () => {
  it("are kept until a heartbeat that was sent after them is answered", () => {
    const news = new HeadNews();
    news.note(gone(1), true);
    news.beat();
    news.note(gone(2), true);
    news.beat();
    expect(news.take()).toEqual([gone(1), gone(2)]);
    news.acknowledged();
    expect(news.take()).toEqual([gone(2)]);
    news.acknowledged();
    expect(news.take()).toEqual([]);
  });

  it("that were under way when the connection broke are told again, and no answer on the next one is taken for theirs", () => {
    const news = new HeadNews();
    news.beat();
    news.note(gone(1), true);
    news.beat();
    news.acknowledged();
    news.connectionLost();
    news.note(gone(2), false);
    news.beat();
    news.acknowledged();
    expect(news.take()).toEqual([gone(1), gone(2)]);
  });

  it("are forgotten with the inventory that had them, later ones not", () => {
    const news = new HeadNews();
    news.note(gone(1), false);
    news.take();
    news.note(gone(2), true);
    news.told();
    expect(news.take()).toEqual([gone(2)]);
  });

  it("are only what nothing else shows", () => {
    const news = new HeadNews();
    news.note([NodeKind.Leaving, "end"], false);
    news.note([NodeKind.BundlesRefused, "group" as never, 1], false);
    expect(news.take()).toEqual([]);
  });
});
