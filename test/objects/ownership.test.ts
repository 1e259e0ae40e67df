import * as shoal from "shoal";
import { expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { rejection } from "../support/wait-for.ts";

useSession();

/** Owns what it makes: the refs it gives are to objects in its own tables. */
class Owner {
  make(length: number): shoal.ObjectRef<Uint8Array>[] {
    return [shoal.put(new Uint8Array(length).fill(1))];
  }
  start(): shoal.ObjectRef<string>[] {
    const never = shoal.remote(() => new Promise<string>(() => {}), { numCpus: 0 });
    return [never.remote()];
  }
}
const RemoteOwner = shoal.remote(Owner, { numCpus: 0 });

test.each([
  ["small", 10],
  ["large", 1_000_000],
])("the owner's death is OwnerDiedError for those who borrowed a %s object", async (_size, length) => {
  const owner = RemoteOwner.remote();
  const [ref] = await shoal.get(owner.make.remote(length));
  await shoal.kill(owner);
  const error = await rejection<shoal.OwnerDiedError>(shoal.get(ref!));
  expect(error).toBeInstanceOf(shoal.OwnerDiedError);
  expect(error).toBeInstanceOf(shoal.ObjectLostError);
  expect(error.code).toBe("OWNER_DIED");
  expect(error.objectId).toBe(ref!.id);
});

test("a get that waits for the object ends, too, when its owner dies", async () => {
  const owner = RemoteOwner.remote();
  const [pending] = await shoal.get(owner.start.remote());
  const waiting = rejection(shoal.get(pending!));
  await shoal.kill(owner);
  expect(await waiting).toBeInstanceOf(shoal.OwnerDiedError);
});

test("a task whose argument's owner died fails with that error", async () => {
  const owner = RemoteOwner.remote();
  const [ref] = await shoal.get(owner.make.remote(1_000_000));
  await shoal.kill(owner);
  const length = shoal.remote((array: Uint8Array) => array.length);
  const error = await rejection(shoal.get(length.remote(ref!)));
  expect(error).toBeInstanceOf(shoal.OwnerDiedError);
});

test("refs travel driver -> task -> actor -> driver, and any of them can read", async () => {
  class Shelf {
    refs: shoal.ObjectRef<Float64Array>[] = [];
    add(refs: shoal.ObjectRef<Float64Array>[]): void {
      this.refs.push(...refs);
    }
    all(): shoal.ObjectRef<Float64Array>[] {
      return this.refs;
    }
    async sums(): Promise<number[]> {
      return (await shoal.get(this.refs)).map((array) => array.reduce((a, b) => a + b, 0));
    }
  }
  const shelf = shoal.remote(Shelf).remote();
  const fill = shoal.remote((n: number, x: number) => new Float64Array(n).fill(x));
  const store = shoal.remote(async (to: typeof shelf, refs: shoal.ObjectRef<Float64Array>[]) => {
    await shoal.get(to.add.remote([...refs, shoal.put(Float64Array.of(5)), fill.remote(50_000, 1)]));
  });
  const mine = [shoal.put(Float64Array.of(1, 2)), shoal.put(new Float64Array(50_000).fill(2)), fill.remote(3, 7)];
  await shoal.get(store.remote(shelf, mine));
  expect(await shoal.get(shelf.sums.remote())).toEqual([3, 100_000, 21, 5, 50_000]);
  const back = await shoal.get(await shoal.get(shelf.all.remote()));
  expect(back.map((array) => array.reduce((a, b) => a + b, 0))).toEqual([3, 100_000, 21, 5, 50_000]);
});

test("an object that holds 2,000 refs", async () => {
  const refs = Array.from({ length: 2_000 }, (_, i) => shoal.put(i));
  const sum = shoal.remote(async (box: { refs: shoal.ObjectRef<number>[] }) =>
    (await shoal.get(box.refs)).reduce((a, b) => a + b, 0),
  );
  expect(await shoal.get(sum.remote(shoal.put({ refs })))).toBe(1_999_000);
});
