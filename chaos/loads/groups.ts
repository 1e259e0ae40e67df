/** Placement groups: reserved whole, used, reserved again elsewhere when a node of theirs dies, given back. */
import * as shoal from "shoal";
import type { Kind } from "../round.ts";

const twice = shoal.remote((x: number) => 2 * x, { maxRetries: -1, numCpus: 0.25 });

const strategies = ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] as const;

export const groupKinds: readonly Kind[] = [
  {
    name: "placement groups",
    lanes: 1,
    async run(round) {
      const strategy = round.random.pick(strategies);
      const group = shoal.placementGroup([{ CPU: 0.25 }, { CPU: 0.25 }], { strategy });
      try {
        const { patienceMs } = round.options;
        round.check(
          `hang: a ${strategy} group is not placed in ${patienceMs} ms`,
          await round.within("a group", group.wait({ timeoutMs: patienceMs - 1_000 })),
        );
        const refs = Array.from({ length: 6 }, (_, i) =>
          twice
            .options({ schedulingStrategy: shoal.placementGroupScheduling(group, i < 4 ? { bundleIndex: i % 2 } : {}) })
            .remote(i),
        );
        for (const [i, ref] of refs.entries()) {
          const what = `task ${i} in a ${strategy} group`;
          round.right(what, await round.value(what, ref), 2 * i);
        }
      } finally {
        await round.within("removePlacementGroup()", shoal.removePlacementGroup(group));
      }
    },
  },
];
