/** The dashboard over HTTP, as a browser asks for it: who gets in, what it says of a running program, and that nothing of it stays. */
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { inSandbox } from "../support/command-line.ts";
import { inSession, useSession } from "../support/session.ts";
import { waitFor } from "../support/wait-for.ts";

const hostile = `<img src=x onerror="alert(1)">`;

describe("a local session's dashboard", () => {
  const context = useSession({ numCpus: 2, dashboard: { port: 0 } });
  const url = () => new URL(context().dashboardUrl as string);
  const token = () => url().searchParams.get("token") as string;
  const bearer = () => ({ authorization: `Bearer ${token()}` });
  const at = (path: string) => new URL(path, url().origin);
  const api = async (path: string): Promise<any> => {
    const response = await fetch(at(`/api/${path}`), { headers: bearer() });
    expect(response.status, path).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^application\/json/);
    return response.json();
  };

  test("listens on loopback and names its address with a key", () => {
    expect(url().hostname).toBe("127.0.0.1");
    expect(token()).toMatch(/^[0-9a-f]{64}$/);
  });

  test("answers nobody without the key, whatever is asked", async () => {
    for (const path of ["/", "/page.js", "/page.css", "/api/status", "/api/timeline", "/nothing"]) {
      for (const headers of [{}, { authorization: "Bearer no" }, { cookie: `shoal-${url().port}=no` }] as Record<
        string,
        string
      >[]) {
        const response = await fetch(at(path), { headers });
        expect(response.status, path).toBe(401);
        expect(await response.text()).toBe(
          "Cannot show the dashboard without its token: open the whole address that `shoal start --head` printed or that dashboardUrl says.\n",
        );
      }
      expect((await fetch(at(`${path}?token=${"0".repeat(64)}`))).status).toBe(401);
    }
  });

  test("turns the key of the address into a cookie that scripts cannot read", async () => {
    const response = await fetch(url(), { redirect: "manual" });
    expect(response.status).toBe(303);
    expect(response.headers.get("location")).toBe("/");
    const cookie = response.headers.get("set-cookie") as string;
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict; Path=\/$/);
    const page = await fetch(at("/"), { headers: { cookie: `other=1; ${cookie.split(";")[0]}` } });
    expect(page.status).toBe(200);
    expect(await page.text()).not.toContain(token());
    expect(
      (await fetch(`${url().origin}//elsewhere.example/?token=${token()}`, { redirect: "manual" })).headers.get("location"),
    ).not.toMatch(/^\/\//);
  });

  test("is no page for other sites: no CORS, a strict policy, nothing inline", async () => {
    const response = await fetch(at("/"), { headers: { ...bearer(), origin: "https://elsewhere.example" } });
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect(response.headers.get("content-security-policy")).toMatch(/^default-src 'none'; script-src 'self';/);
    expect(response.headers.get("content-security-policy")).not.toContain("unsafe");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await response.text()).not.toMatch(/<script(?![^>]*\bsrc=)|\son\w+=|style=/);
  });

  test("refuses host names that others could have pointed here", async () => {
    const statusFor = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const asked = request(at("/api/status"), { headers: { ...bearer(), host } }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        asked.on("error", reject).end();
      });
    for (const host of [
      "elsewhere.example",
      `elsewhere.example:${url().port}`,
      "127.0.0.1.elsewhere.example",
      "localhost.example",
    ])
      expect(await statusFor(host), host).toBe(403);
    for (const host of [`localhost:${url().port}`, "127.0.0.1:9", "[::1]:80"]) expect(await statusFor(host), host).toBe(200);
  });

  test("only reads", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]) {
      const response = await fetch(at("/api/status"), { method, headers: bearer() });
      expect(response.status, method).toBe(405);
      expect(response.headers.get("allow")).toBe("GET");
    }
  });

  test("says what runs: nodes, jobs, tasks, actors, groups, memory, workers, logs", async () => {
    const double = shoal.remote(function double(x: number) {
      console.log(`doubling ${x}`);
      return 2 * x;
    });
    const fail = shoal.remote(
      function fail(text: string) {
        throw new Error(text);
      },
      { maxRetries: 0 },
    );
    class Tally {}
    const actor = shoal.remote(Tally).options({ name: hostile, numCpus: 0 }).remote();
    const group = shoal.placementGroup([{ CPU: 1 }], { name: "pair" });
    await group.ready();
    await shoal.get([double.remote(1), double.remote(2)]);
    await expect(shoal.get(fail.remote(hostile))).rejects.toThrow(hostile);
    const kept = shoal.put(new Float64Array(500_000));

    const status = await waitFor("the actor to live", async () => {
      const answer = await api("status");
      return answer.actors.ALIVE === 1 && answer;
    });
    expect(status).toMatchObject({ nodes: { alive: 1, dead: 0 }, total: { CPU: 2 }, pending: [] });
    expect((await api("nodes")).rows).toMatchObject([{ nodeId: context().nodeId, alive: true, isHead: true }]);
    expect((await api("jobs")).rows).toMatchObject([{ jobId: context().jobId, state: "RUNNING" }]);
    const summary = await waitFor("all tasks to be told of", async () => {
      const { rows } = await api("tasks/summary");
      return rows.some(({ name }: any) => name === "fail") && rows;
    });
    expect(summary).toContainEqual(expect.objectContaining({ name: "double", state: "FINISHED", count: 2 }));
    const failed = (await api("tasks")).rows.find(({ name }: any) => name === "fail");
    expect(failed).toMatchObject({ state: "FAILED", error: expect.stringContaining(hostile) });
    expect((await api("actors")).rows).toMatchObject([{ className: "Tally", state: "ALIVE", name: hostile }]);
    expect((await api("placement-groups")).rows).toMatchObject([{ name: "pair", state: "CREATED", bundles: [{ CPU: 1 }] }]);
    expect((await api("memory")).rows[0].store.bytesUsed).toBeGreaterThan(3_999_999);
    expect((await api("workers")).rows.map(({ state }: any) => state)).toContain("actor");
    const timeline = await fetch(at("/api/timeline"), { headers: bearer() });
    expect(timeline.headers.get("content-disposition")).toContain("attachment");
    expect(await timeline.json()).toContainEqual(expect.objectContaining({ name: "double", ph: "X" }));
    const log = (await api("logs")).rows.find(({ file }: any) => file === "daemon.log");
    const part = await api(`logs/file?${new URLSearchParams({ node: log.nodeId, file: log.file })}`);
    expect(part.text).toContain("driver");
    expect(part.next).toBe(part.size);
    await shoal.removePlacementGroup(group);
    shoal.kill(actor);
    expect(kept).toBeDefined();
  });

  test("says what is wrong with a question", async () => {
    for (const path of [
      "tasks?limit=x",
      "tasks?limit=100000",
      "actors?offset=-1",
      "logs/file",
      "logs/file?node=a&file=../../etc/passwd",
    ]) {
      const response = await fetch(at(`/api/${path}`), { headers: bearer() });
      expect(response.status, path).toBe(400);
      expect(((await response.json()) as any).error).toMatch(/^Cannot /);
    }
  });

  test("answers about ten thousand tasks in pages", async () => {
    const nothing = shoal.remote(function nothing() {});
    await shoal.get(Array.from({ length: 10_000 }, () => nothing.remote()));
    // A worker reports at most a thousand tasks a second.
    await waitFor("a thousand of them to be counted", async () => {
      const { rows } = await api("tasks/summary");
      return rows.some(({ name, state, count }: any) => name === "nothing" && state === "FINISHED" && count >= 1_000);
    });
    const response = await fetch(at("/api/tasks"), { headers: bearer() });
    const text = await response.text();
    expect(text.length).toBeLessThan(100_000);
    const page = JSON.parse(text);
    expect(page.rows).toHaveLength(100);
    expect(page.total).toBeGreaterThanOrEqual(1_000);
    expect((await api("tasks?limit=10&offset=990")).rows).toHaveLength(10);
    expect((await api("tasks?offset=1000000")).rows).toEqual([]);
  });
});

test("the page makes text of what users have named, never markup", () => {
  const page = readFileSync(fileURLToPath(new URL("../../dist/dashboard-page/page.js", import.meta.url)), "utf8");
  expect(page).toContain("createElement");
  expect(page).not.toMatch(
    /innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\b|new Function/,
  );
});

test("there is no dashboard unless it is asked for, and it ends with the session", async () => {
  await inSession({ numCpus: 1, dashboard: false }, async (context) => expect(context.dashboardUrl).toBeUndefined());
  let url = "";
  await inSession({ numCpus: 1, dashboard: true }, async (context) => {
    url = context.dashboardUrl as string;
    expect((await fetch(url, { redirect: "manual" })).status).toBe(303);
  });
  await expect(fetch(url)).rejects.toThrow();
});

test("a port that is named and taken is an error, and nothing is left", async () => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
  const { port } = squatter.address() as AddressInfo;
  await expect(shoal.init({ address: "local", numCpus: 1, dashboard: { port } })).rejects.toThrow(
    `Cannot listen for the dashboard at 127.0.0.1:${port} as the port is taken`,
  );
  await new Promise((resolve) => squatter.close(resolve));
});

test("options that make no sense are refused before anything starts", async () => {
  for (const dashboard of [1, { port: 70_000 }, { port: "8265" }, { host: "" }, { hots: "a" }] as any[])
    await expect(shoal.init({ dashboard })).rejects.toThrow(/^Cannot use /);
});

test("`shoal start --head` prints its dashboard's address, whose key is not the cluster's token; `stop` ends it", async () => {
  await inSandbox(async (sandbox) => {
    const start = ["start", "--head", "--port=0", "--node-ip-address=127.0.0.1", "--num-cpus=1"];
    const said = await sandbox.ok([...start, "--dashboard-port=0"]); // the usual one may be another head's as soon as it is free
    const url = new URL(/Dashboard: +(\S+)/.exec(said)?.[1] as string);
    const token = readFileSync(`${sandbox.home}/.shoal/auth_token`, "utf8").trim();
    expect(said).not.toContain(token);
    expect((await fetch(new URL("/api/status", url), { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
    expect((await sandbox.json(["status"])).dashboardUrl).toBe(url.href);
    await sandbox.ok(["stop"]);
    await expect(fetch(url)).rejects.toThrow();

    expect(await sandbox.ok([...start, "--no-dashboard"])).not.toContain("Dashboard");
    await sandbox.ok(["stop"]);
    expect(await sandbox.ok([...start, "--include-dashboard=false"])).not.toContain("Dashboard");
    await sandbox.ok(["stop"]);
    const wrong = await sandbox.shoal([...start, "--dashboard-port=x"]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("--dashboard-port")]);
  });
});
