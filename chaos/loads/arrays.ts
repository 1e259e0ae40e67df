/** Large objects: made by tasks and by `put`, read on other nodes, in chains whose links are lost and made again. */
import * as shoal from "shoal";
import type { Kind, Round } from "../round.ts";

type Numbers = Float64Array<ArrayBufferLike>;

/** `first`, `first` + 1, ...: a byte that is missing, twice there or in another's place is seen. */
function counting(length: number, first: number): Numbers {
  const array = new Float64Array(length);
  for (let i = 0; i < length; i++) array[i] = first + i;
  return array;
}

/** "right", or where it is not what `counting` makes. */
function judge(array: Numbers, length: number, first: number): string {
  if (array.length !== length) return `has ${array.length} elements`;
  for (let i = 0; i < length; i++) if (array[i] !== first + i) return `element ${i} is ${array[i]}`;
  return "right";
}

const make = shoal.remote(counting, { maxRetries: -1, schedulingStrategy: "SPREAD" });
const check = shoal.remote(judge, { maxRetries: -1, schedulingStrategy: "SPREAD" });

const next = shoal.remote(
  (array: Numbers, length: number, first: number): Numbers => {
    const verdict = judge(array, length, first);
    if (verdict !== "right") throw new Error(`The link before ${verdict}`);
    return counting(length, first + 1);
  },
  { maxRetries: -1, schedulingStrategy: "SPREAD" },
);

const checkBoth = shoal.remote(
  async (box: { readonly parts: shoal.ObjectRef<Numbers>[] }, length: number, first: number): Promise<string> => {
    const arrays = await shoal.get(box.parts);
    return arrays.map((array, i) => judge(array, length, first + i)).join(", ");
  },
  { maxRetries: -1 },
);

/** Elements of an array of this round. */
const lengthIn = (round: Round, bytesMax: number): number =>
  Math.max(1, Math.floor((bytesMax * (0.2 + 0.8 * round.random.next())) / 8));

export const arrayKinds: readonly Kind[] = [
  {
    name: "arrays of tasks",
    lanes: 1,
    async run(round) {
      const length = lengthIn(round, round.options.arrayBytesMax);
      const first = round.random.int(1_000_000);
      const array = make.remote(length, first);
      const verdicts = Array.from({ length: 3 }, () => check.remote(array, length, first));
      for (const verdict of verdicts) round.right("a reader's verdict", await round.value("a reader", verdict), "right");
      if (round.random.chance(0.3)) {
        const here = await round.value("the array", array);
        round.right("the driver's verdict", judge(here, length, first), "right");
      }
      array[Symbol.dispose]();
    },
  },
  {
    name: "arrays of the driver",
    lanes: 1,
    async run(round) {
      const length = lengthIn(round, round.options.arrayBytesMax / 2);
      const first = round.random.int(1_000_000);
      const parts = [shoal.put(counting(length, first)), shoal.put(counting(length, first + 1))];
      const both = checkBoth.remote({ parts }, length, first);
      const one = check.remote(parts[1], length, first + 1);
      round.right("the verdict on both", await round.value("the reader of both", both), "right, right");
      round.right("the verdict on one", await round.value("the reader of one", one), "right");
      for (const part of parts) part[Symbol.dispose]();
    },
  },
  {
    name: "chains of arrays",
    lanes: 1,
    async run(round) {
      const length = lengthIn(round, round.options.arrayBytesMax / 4);
      const first = round.random.int(1_000_000);
      const links = [make.remote(length, first)];
      const count = 2 + round.random.int(4);
      for (let i = 0; i < count; i++) links.push(next.remote(links[i], length, first + i));
      const kept = round.random.chance(0.5) ? links.splice(0, count) : [];
      const last = links[links.length - 1];
      round.right("the last link", await round.value("the last link", check.remote(last, length, first + count)), "right");
      // Those before may be lost by now, and must come again.
      for (const [i, link] of kept.entries())
        round.right(`link ${i}`, await round.value(`link ${i}`, check.remote(link, length, first + i)), "right");
    },
  },
];
