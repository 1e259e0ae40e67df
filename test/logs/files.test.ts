/** What workers print, in the files of the session. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { waitFor } from "../support/wait-for.ts";

const session = useSession();

const logs = () => {
  const dir = join(session().sessionDir, "logs");
  return (readdirSync(dir, { recursive: true }) as string[])
    .map((name) => join(dir, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => ({ path, text: readFileSync(path, "utf8") }));
};

describe("The session's logs directory", () => {
  test("holds what each worker prints, in a file named by it, out and err apart", async () => {
    const print = shoal.remote((text: string) => {
      console.log(`said ${text}`);
      console.error(`complained about ${text}`);
      return shoal.getRuntimeContext().workerId;
    });
    const workerId = await shoal.get(print.remote("weather"));
    const out = await waitFor("the line in a file", () => logs().find(({ text }) => text.includes("said weather\n")));
    const err = await waitFor("the line in a file", () => logs().find(({ text }) => text.includes("complained about weather\n")));
    expect(out.path).not.toBe(err.path);
    expect(out.path).toContain(workerId);
    expect(err.path).toContain(workerId);
  });

  test("is readable by its owner only", () => {
    expect(statSync(session().sessionDir).mode & 0o077).toBe(0);
  });
});
