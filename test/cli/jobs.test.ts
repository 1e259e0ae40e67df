/** Submitted jobs run beside the head, whoever submitted them may go. */
import { expect, test } from "vitest";
import { inSandbox } from "../support/command-line.ts";

test("a job runs a program of the cluster, its output is followed, and its outcome is the exit code", async () => {
  await inSandbox(async (sandbox) => {
    const address = await sandbox.head();
    sandbox.write(
      "program.mjs",
      `import * as shoal from "shoal";
       const { address } = await shoal.init();
       console.log("ran at", address, await shoal.get(shoal.remote((x) => x + 1).remote(1)));`,
    );
    const done = await sandbox.shoal(["job", "submit", "--submission-id", "good", "--", process.execPath, "program.mjs"]);
    expect(done.stdout).toContain(`ran at ${address} 2`);
    expect(done).toMatchObject({ code: 0 });
    const failed = await sandbox.shoal(["job", "submit", "--submission-id", "bad", "echo 'to $HOME'; exit 3"]);
    expect(failed.stdout).toContain("code 3");
    expect(failed.code).toBe(1);
    expect(await sandbox.json(["job", "list"])).toMatchObject([
      { submissionId: "good", state: "SUCCEEDED", exitCode: 0 },
      { submissionId: "bad", state: "FAILED", exitCode: 3 },
    ]);
    expect(await sandbox.ok(["job", "logs", "bad"])).toBe("to $HOME\n");
    expect((await sandbox.shoal(["job", "submit", "--submission-id", "good", "--", "true"])).stderr).toContain(
      "there is one of that id",
    );
    expect((await sandbox.shoal(["job", "status", "unknown"])).code).toBe(1);
    await sandbox.ok(["stop"]);
  });
});

test("a job that is stopped ends with all of its processes, and so does one whose session is stopped", async () => {
  await inSandbox(async (sandbox) => {
    await sandbox.head();
    for (const id of ["one", "two"]) {
      const marker = sandbox.write(`${id}.mjs`, "console.log('up'); setInterval(() => {}, 1000);");
      await sandbox.ok([
        "job",
        "submit",
        "--no-wait",
        "--submission-id",
        id,
        `${process.execPath} ${marker} & ${process.execPath} ${marker}`,
      ]);
    }
    expect(await sandbox.json(["job", "status", "one"])).toMatchObject({ state: "RUNNING" });
    await sandbox.ok(["job", "stop", "one"]);
    expect(await sandbox.json(["job", "status", "one"])).toMatchObject({ state: "STOPPED" });
    expect(sandbox.left().filter((line) => line.includes("one.mjs"))).toEqual([]);
    expect(sandbox.left().filter((line) => line.includes("two.mjs")).length).toBeGreaterThan(1);
    await sandbox.ok(["stop"]);
    expect(sandbox.left()).toEqual([]);
  });
});
