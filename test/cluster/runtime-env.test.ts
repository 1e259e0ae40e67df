/** Environments of workers: variables, a working directory, packages. */
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import { afterAll, describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { rejection, thrownBy } from "../support/wait-for.ts";

const dir = realpathSync(mkdtempSync(join(tmpdir(), "shoal-env-")));
afterAll(() => rmSync(dir, { recursive: true }));
writeFileSync(join(dir, "data.txt"), "beside me");
mkdirSync(join(dir, "greeter"));
writeFileSync(
  join(dir, "greeter", "package.json"),
  JSON.stringify({
    name: "greeter",
    version: "1.2.3",
    type: "module",
    exports: { ".": "./index.js", "./plain.cjs": "./plain.cjs" },
  }),
);
writeFileSync(
  join(dir, "greeter", "index.js"),
  "export const greet = (name) => 'hello ' + name;\nexport const here = import.meta.url;\n",
);
writeFileSync(join(dir, "greeter", "plain.cjs"), "module.exports = 'required';\n");
cpSync(join(dir, "greeter"), join(dir, "slow"), { recursive: true });
const greeter = `file:${join(dir, "greeter")}`;

const variables = shoal.remote((...names: string[]) => names.map((name) => process.env[name]));
const pid = shoal.remote(() => process.pid);

class Envy {
  variable(name: string): string | undefined {
    return process.env[name];
  }
}

useSession({ numCpus: 2, runtimeEnv: { envVars: { LEVEL: "job", JOB: "yes" } } });

describe("envVars", () => {
  test("of init() are those of every task and actor", async () => {
    expect(await shoal.get(variables.remote("LEVEL", "JOB"))).toEqual(["job", "yes"]);
    expect(await shoal.get(shoal.remote(Envy).remote().variable.remote("LEVEL"))).toBe("job");
  });

  test("of a task or actor are merged over the job's", async () => {
    const runtimeEnv = { envVars: { LEVEL: "task", MORE: "1" } };
    expect(await shoal.get(variables.options({ runtimeEnv }).remote("LEVEL", "JOB", "MORE"))).toEqual(["task", "yes", "1"]);
    const actor = shoal.remote(Envy, { runtimeEnv }).remote();
    expect(await shoal.get([actor.variable.remote("LEVEL"), actor.variable.remote("JOB")])).toEqual(["task", "yes"]);
    expect(await shoal.get(variables.remote("LEVEL", "MORE"))).toEqual(["job", undefined]);
  });

  test("that the system refuses fail task and actor with RuntimeEnvSetupError, and nothing else", async () => {
    const before = await shoal.get(pid.remote());
    const runtimeEnv = { envVars: { LARGE: "x".repeat(200_000) } };
    const error = await rejection<shoal.RuntimeEnvSetupError>(shoal.get(pid.options({ runtimeEnv }).remote()));
    expect(error).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(error.message).toMatch(/so large an environment .*E2BIG/);
    const actor = shoal.remote(Envy, { runtimeEnv, maxRestarts: -1 }).remote();
    const died = await rejection(shoal.get(actor.variable.remote("LEVEL")));
    expect(died).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(died.message).toMatch(/so large an environment .*E2BIG/);
    expect(await shoal.get(pid.remote())).toBe(before);
  });

  test("are inherited by the tasks and actors of a task", async () => {
    const parent = shoal.remote(
      async () => {
        const child = shoal.remote((name: string) => process.env[name]);
        class Child {
          variable(name: string): string | undefined {
            return process.env[name];
          }
        }
        return shoal.get([
          child.remote("INHERITED"),
          child.remote("JOB"),
          shoal.remote(Child).remote().variable.remote("INHERITED"),
        ]);
      },
      { runtimeEnv: { envVars: { INHERITED: "down" } } },
    );
    expect(await shoal.get(parent.remote())).toEqual(["down", "yes", "down"]);
  });

  test("that differ mean other processes, the same ones the same", async () => {
    const a = pid.options({ runtimeEnv: { envVars: { A: "1" } } });
    const b = pid.options({ runtimeEnv: { envVars: { B: "1" } } });
    const [firstA, firstB] = [await shoal.get(a.remote()), await shoal.get(b.remote())];
    expect(firstA).not.toBe(firstB);
    expect(await shoal.get(pid.options({ runtimeEnv: { envVars: { A: "1" } } }).remote())).toBe(firstA);
  });

  test("many different ones, one after the other, do not use up the machine", async () => {
    const values = Array.from({ length: 12 }, (_, i) => String(i));
    const refs = values.map((value) => variables.options({ runtimeEnv: { envVars: { NUMBER: value } } }).remote("NUMBER"));
    expect((await shoal.get(refs)).flat()).toEqual(values);
  });
});

describe("workingDir", () => {
  const read = shoal.remote(async () => {
    const { readFileSync } = await import("node:fs");
    return [process.cwd(), readFileSync("data.txt", "utf8")];
  });

  test("is where the task runs", async () => {
    expect(await shoal.get(read.options({ runtimeEnv: { workingDir: dir } }).remote())).toEqual([dir, "beside me"]);
  });

  test("is the driver's own without it", async () => {
    expect(await shoal.get(shoal.remote(() => process.cwd()).remote())).toBe(process.cwd());
  });

  test("that does not exist is RuntimeEnvSetupError with its name, for a task and an actor, and nothing else suffers", async () => {
    const runtimeEnv = { workingDir: join(dir, "missing") };
    const error = await rejection(shoal.get(read.options({ runtimeEnv }).remote()));
    expect(error).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(error.message).toContain("missing");
    const ofActor = await rejection(shoal.get(shoal.remote(Envy, { runtimeEnv }).remote().variable.remote("X")));
    expect(ofActor).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(ofActor.message).toContain("missing");
    expect(await shoal.get(variables.remote("LEVEL"))).toEqual(["job"]);
  });
});

describe("npm", () => {
  test("packages can be imported by the task, which does not have them otherwise", async () => {
    const use = shoal.remote(async (name: string) => {
      const { greet } = await import("greeter" as string);
      return greet(name);
    });
    const runtimeEnv = { npm: [greeter] };
    expect(await shoal.get(use.options({ runtimeEnv }).remote("you"))).toBe("hello you");
    const without = await rejection<shoal.TaskError>(shoal.get(use.remote("you")));
    expect(without).toBeInstanceOf(shoal.TaskError);
    expect(without.message).toContain("greeter");
  });

  test("packages can be required as well, by functions of CommonJS files and by createRequire", async () => {
    const use = shoal.remote(async () => {
      const { createRequire } = await import("node:module");
      return createRequire(`${process.cwd()}/any.js`)("greeter/plain.cjs");
    });
    expect(await shoal.get(use.options({ runtimeEnv: { npm: [greeter] } }).remote())).toBe("required");
  });

  test("packages are installed once for all tasks that want them", async () => {
    const where = shoal.remote(async () => (await import("greeter" as string)).here, { runtimeEnv: { npm: [greeter] } });
    const places = new Set(await shoal.get(Array.from({ length: 6 }, () => where.remote())));
    expect(places.size).toBe(1);
  });

  test("packages that do not exist are RuntimeEnvSetupError with the tool's output", async () => {
    const error = await rejection(
      shoal.get(pid.options({ runtimeEnv: { npm: [`file:${join(dir, "no-such-package")}`] } }).remote()),
    );
    expect(error).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(error.message).toContain("no-such-package");
  });

  test("that take longer than setupTimeoutMs are RuntimeEnvSetupError that says so", async () => {
    const error = await rejection(
      shoal.get(pid.options({ runtimeEnv: { npm: [`file:${join(dir, "slow")}`], setupTimeoutMs: 1 } }).remote()),
    );
    expect(error).toBeInstanceOf(shoal.RuntimeEnvSetupError);
    expect(error.message).toMatch(/1 ms/);
  });
});

describe("A runtime env that makes no sense", () => {
  test("is rejected where it is given", () => {
    for (const runtimeEnv of [
      { foo: 1 },
      { envVars: { A: 1 } },
      { workingDir: 1 },
      { npm: "left-pad" },
      { npm: [1] },
      { excludes: "*.bin" },
      { setupTimeoutMs: -1 },
      { setupTimeoutMs: Infinity },
      { envVars: { A: "a\0b" } },
      { envVars: { "A\0": "a" } },
      { envVars: { "A=B": "a" } },
      { envVars: { "": "a" } },
      { envVars: ["A"] },
      { workingDir: "a\0b" },
    ]) {
      const error = thrownBy(() => variables.options({ runtimeEnv: runtimeEnv as never }));
      expect(error instanceof TypeError || error instanceof RangeError, JSON.stringify(runtimeEnv)).toBe(true);
    }
  });
});
