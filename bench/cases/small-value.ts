/** The task that most of Ray's microbenchmarks run: it returns two bytes. */
import * as shoal from "shoal";

export const smallValue = shoal.remote(function smallValue() {
  return Buffer.from("ok");
});

/** `count` of them at once. */
export async function smallValues(count: number): Promise<void> {
  await shoal.get(Array.from({ length: count }, () => smallValue.remote()));
}
