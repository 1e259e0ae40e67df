import { expect, test } from "vitest";
import { collectGarbage } from "../../test/support/garbage.ts";
import { QueueActor } from "./queue-actor.ts";

test("what was taken out of a queue is not kept by it", async () => {
  const queue = new QueueActor(0);
  const put = async (): Promise<WeakRef<object>> => {
    const item = { large: true };
    await queue.put([item], null);
    return new WeakRef(item);
  };
  const items = [await put(), await put()];
  expect((await queue.getBatch(1)) as object).toHaveLength(1);
  await collectGarbage();
  expect(items.map((item) => item.deref() !== undefined)).toEqual([false, true]);
  expect(queue.size()).toBe(1);
});
