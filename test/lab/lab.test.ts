/** The lab itself: each fault does to hosts what its name says, and nothing stays. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { processesMentioning } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";
import { type Command, startCommand } from "./command.ts";
import { Lab, labSupported, sweepSharedDirectories } from "./lab.ts";
import type { LabHost } from "./lab-host.ts";

const reason = labSupported();
const title = (name: string) => (reason === null ? name : `${name} (skipped: ${reason})`);
const probe = join(import.meta.dirname, "probe.mjs");
const port = 7000;

let lab: Lab;
let node1: LabHost;
let node2: LabHost;
let node3: LabHost;

/** Serves the probe on a host until it ends. */
async function serve(host: LabHost): Promise<Command> {
  const server = host.start(["node", probe, "serve", String(port)], { timeoutMs: 120_000 });
  await server.printed("serving");
  return server;
}

async function hold(from: LabHost, to: LabHost): Promise<Command> {
  const held = from.start(["node", probe, "hold", to.address, String(port)], { timeoutMs: 120_000 });
  await held.printed("connected");
  return held;
}

/** Sends a line through the connection and waits for its echo. */
async function echo(held: Command, word: string): Promise<void> {
  held.child.stdin!.write(`${word}\n`);
  await held.printed(new RegExp(`echo.*${word}`));
}

async function datagrams(from: LabHost, to: LabHost, count: number) {
  const said = await from.must(["node", probe, "datagrams", to.address, String(port), String(count)]);
  return JSON.parse(said) as { sent: number; returned: number; medianMs: number | null };
}

const reaches = async (from: LabHost, to: LabHost) => (await datagrams(from, to, 20)).returned > 0;

describe.skipIf(reason !== null)(title("Lab"), () => {
  beforeAll(async () => {
    lab = await Lab.up(["node1", "node2", "node3"], { shm: "64m" });
    [node1, node2, node3] = lab.hosts;
    await Promise.all(lab.hosts.map(serve));
  });
  afterAll(() => lab?.destroy());

  test("hosts have their own name, processes, /tmp, /dev/shm and /etc/hosts, and share the rest", async () => {
    expect((await node2.must(["hostname"])).trim()).toBe("node2");
    expect((await node2.must(["hostname", "--ip-address"])).trim()).toBe("10.77.0.12");
    expect(Number(await node1.must(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]))).toBeLessThan(8);
    await node1.must(["sh", "-c", 'echo mine > /tmp/file; echo mine > /dev/shm/file; echo ours > "$HOME/file"']);
    expect((await node2.must(["sh", "-c", 'ls /tmp /dev/shm; cat "$HOME/file"'])).split("\n")).toContain("ours");
    expect(await node2.must(["sh", "-c", "ls /tmp /dev/shm"])).not.toContain("file");
    expect(readFileSync(node1.path("/tmp/file"), "utf8")).toBe("mine\n");
    expect(Number((await node1.must(["df", "--output=size", "-k", "/dev/shm"])).split("\n")[1])).toBe(64 * 1024);
    expect((await node1.must(["ls", "/sys/class/net"])).trim().split(/\s+/)).toEqual(["eth0", "lo"]);
  });

  test("a command's exit code, signal and input pass through; one that takes too long is killed and told", async () => {
    expect((await node1.run(["sh", "-c", "cat; exit 7"], { input: "hello" })).code).toBe(7);
    const cat = node1.start(["cat"]);
    await waitFor("cat to be there", async () => (await node1.run(["pgrep", "-x", "cat"])).code === 0);
    node1.signal(cat, "SIGTERM");
    const end = await cat.exited;
    expect(end.code === 143 || end.signal === "SIGTERM").toBe(true);
    await expect(node1.run(["sh", "-c", "echo started; exec cat /dev/zero > /dev/null"], { timeoutMs: 500 })).rejects.toThrow(
      /still runs after 500 ms\nstdout: started/,
    );
    await waitFor("it to be gone", async () => (await node1.run(["pgrep", "-x", "cat"])).code === 1);
  });

  test("cut: no carrier, nothing passes; heal mends it", async () => {
    const held = await hold(node1, node2);
    await node2.cut();
    expect(await node2.must(["cat", "/sys/class/net/eth0/operstate"])).toBe("down\n");
    expect(await reaches(node1, node2)).toBe(false);
    await node2.heal();
    await echo(held, "after");
    expect(held.stdout).not.toContain("end");
    held.child.stdin!.end();
    held.child.kill("SIGKILL");
  });

  test("blackhole: the link looks fine, nothing passes, others are not touched", async () => {
    const held = await hold(node1, node2);
    await node2.blackhole();
    expect(await node2.must(["cat", "/sys/class/net/eth0/carrier"])).toBe("1\n");
    held.child.stdin!.write("lost\n");
    expect(await reaches(node1, node2)).toBe(false);
    expect(await reaches(node2, node3)).toBe(false);
    expect(await reaches(node1, node3)).toBe(true);
    expect(held.stdout).not.toContain("lost");
    await node2.heal();
    await held.printed("echo lost"); // TCP sends it again
    held.child.kill("SIGKILL");
  });

  test("one-way: what goes from a host is lost, what comes to it arrives", async () => {
    const counter = node2.start(["node", "-e", oneWayCounter]);
    await counter.printed("listening");
    await node2.loseTo(node1);
    // node1 reaches node2, but no answer comes back
    expect((await datagrams(node1, node2, 20)).returned).toBe(0);
    await node1.must([
      "node",
      "-e",
      `const u=require("dgram").createSocket("udp4");u.send("x",7100,"${node2.address}",()=>u.close())`,
    ]);
    await counter.printed("got x");
    expect(await reaches(node2, node3)).toBe(true);
    await node2.heal();
    expect(await reaches(node1, node2)).toBe(true);
    counter.child.kill("SIGKILL");
  });

  test("partition: two hosts do not reach each other, and both reach the third", async () => {
    await node1.partition(node2);
    const [pair, first, second] = await Promise.all([reaches(node1, node2), reaches(node1, node3), reaches(node2, node3)]);
    expect([pair, first, second]).toEqual([false, true, true]);
    await node1.heal();
    expect(await reaches(node1, node2)).toBe(true);
  });

  test("loss: about the asked share of packets is lost in each direction", async () => {
    await node2.loss(30);
    const { sent, returned } = await datagrams(node1, node2, 1_000);
    await node2.heal();
    // 0.7 x 0.7 = 490 of 1000 come back, with a deviation of 16
    expect(returned / sent).toBeGreaterThan(0.35);
    expect(returned / sent).toBeLessThan(0.63);
    expect((await datagrams(node1, node2, 100)).returned).toBe(100);
  });

  test("delay: a round trip takes twice the delay at least, and connections live through the change", async () => {
    const held = await hold(node1, node2);
    const before = await datagrams(node1, node2, 50);
    expect(before.medianMs).toBeLessThan(60);
    await node2.delay(30);
    await echo(held, "late");
    const during = await datagrams(node1, node2, 50);
    expect(during.returned).toBe(50);
    expect(during.medianMs).toBeGreaterThanOrEqual(60);
    await node2.heal();
    expect((await datagrams(node1, node2, 50)).medianMs).toBeLessThan(60);
    await echo(held, "soon");
    held.child.kill("SIGKILL");
  });

  test("rate: bytes take their time", async () => {
    await node2.rate("8mbit"); // a megabyte a second in each direction
    const { ms } = JSON.parse(await node1.must(["node", probe, "fetch", node2.address, String(port), "1000000"]));
    expect(ms).toBeGreaterThan(800);
    await node2.heal();
    const quick = JSON.parse(await node1.must(["node", probe, "fetch", node2.address, String(port), "1000000"]));
    expect(quick.ms).toBeLessThan(ms);
  });

  test("freeze: the kernel accepts, nobody answers; thaw goes on", async () => {
    const held = await hold(node1, node2);
    await node2.freeze();
    const late = await hold(node1, node2); // the kernel's answer
    late.child.stdin!.write("frozen\n");
    held.child.stdin!.write("frozen\n");
    expect(await reaches(node1, node2)).toBe(false);
    expect(late.stdout + held.stdout).not.toContain("frozen");
    await node2.thaw();
    await held.printed("echo frozen");
    await late.printed("echo frozen");
    for (const { child } of [held, late]) child.kill("SIGKILL");
  });

  test("crash: peers see the end at once, later ones are refused; boot starts anew", async () => {
    const held = await hold(node1, node2);
    await node2.must(["touch", "/tmp/before"]);
    await node2.crash();
    await held.printed(/end|error ECONNRESET/, 2_000);
    const refused = await node1.run(["node", probe, "hold", node2.address, String(port)]);
    expect(refused.stdout).toContain("error ECONNREFUSED");
    expect(() => node2.start(["true"])).toThrow("Cannot run 'true' on node2 as the host is off");
    await node2.boot();
    await serve(node2);
    expect((await node2.run(["test", "-e", "/tmp/before"])).code).toBe(1);
    const again = await hold(node1, node2);
    await echo(again, "again");
    again.child.kill("SIGKILL");
  });

  test("poweroff: peers see nothing, and after the boot the old connection is unknown", async () => {
    const held = await hold(node1, node2);
    await echo(held, "before");
    await node2.powerOff();
    expect(await reaches(node1, node2)).toBe(false);
    expect(held.stdout).not.toMatch(/end|error/);
    await node2.boot();
    await serve(node2);
    held.child.stdin!.write("stale\n");
    await held.printed("error ECONNRESET");
    expect(await reaches(node1, node2)).toBe(true);
  });

  test("a frozen host can crash and boot", async () => {
    const command = node3.start(["cat"]);
    await node3.freeze();
    await node3.crash();
    expect((await command.exited).code ?? 1).not.toBe(0);
    await node3.boot();
    expect((await node3.must(["hostname"])).trim()).toBe("node3");
    await serve(node3);
  });
});

const oneWayCounter = `const u = require("dgram").createSocket("udp4");
u.on("message", (m) => console.log("got " + m)).bind(7100, () => console.log("listening"));`;

describe.skipIf(reason !== null)(title("Lab: what stays"), () => {
  test("two labs with the same host names live side by side, and destroy() leaves nothing of either", async () => {
    const [one, two] = await Promise.all([Lab.up(["a", "b"]), Lab.up(["a", "b"])]);
    await one.host("a").must(["sh", "-c", "echo one > /tmp/which; setsid cat /dev/zero > /dev/null 2>&1 < /dev/null & true"]);
    expect((await two.host("a").run(["test", "-e", "/tmp/which"])).code).toBe(1);
    await two.host("b").delay(5);
    await one.host("b").freeze();
    const spaces = new Set([...namespacesOf(one.id), ...namespacesOf(two.id)]);
    expect(spaces.size).toBe(2 * (1 + 2 * 5)); // a switch's network, and all five of each host
    const mounts = readFileSync("/proc/self/mounts", "utf8");
    await one.destroy();
    expect(await two.host("a").must(["hostname"])).toBe("a\n");
    await two.destroy();
    expect([...processesMentioning(one.id), ...processesMentioning(two.id)]).toEqual([]);
    expect([existsSync(one.shared), existsSync(two.shared)]).toEqual([false, false]);
    expect([...allNamespaces()].filter((name) => spaces.has(name))).toEqual([]);
    expect(readFileSync("/proc/self/mounts", "utf8")).toBe(mounts);
  });

  test("a test that is killed, with a frozen host and a delay line, leaves no process; the next lab removes its directory", async () => {
    const program = `import { Lab } from ${JSON.stringify(join(import.meta.dirname, "lab.ts"))};
      const lab = await Lab.up(["a", "b"]);
      lab.host("a").start(["cat"]);
      await lab.host("a").must(["sh", "-c", "setsid cat /dev/zero > /dev/null 2>&1 < /dev/null & true"]);
      await lab.host("b").delay(5);
      await lab.host("a").freeze();
      console.log("made " + lab.id);
      await new Promise((resolve) => process.stdin.once("end", resolve));`;
    const test = startCommand([process.execPath, "--import", import.meta.resolve("tsx"), "--input-type=module", "-e", program], {
      env: { PATH: process.env.PATH ?? "" },
    });
    const [, id] = await test.printed(/made (\S+)/);
    expect(processesMentioning(id).length).toBeGreaterThan(6);
    expect(existsSync(join("/var/tmp", id))).toBe(true);
    test.child.kill("SIGKILL");
    await test.exited;
    await waitFor("the kernel to end its lab", () => processesMentioning(id).length === 0, 5_000);
    sweepSharedDirectories();
    expect(existsSync(join("/var/tmp", id))).toBe(false);
  });
});

/** Namespaces that the processes of a lab are in and this process is not. */
function namespacesOf(id: string): Set<string> {
  const found = new Set<string>();
  for (const { pid } of processesMentioning(id)) for (const name of namespaces(String(pid))) found.add(name);
  for (const name of namespaces("self")) found.delete(name);
  return found;
}

function namespaces(pid: string): string[] {
  try {
    return ["net", "mnt", "pid", "uts", "ipc"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
  } catch {
    return []; // ended while we looked
  }
}

/** Namespaces of all processes of this machine. */
function allNamespaces(): Set<string> {
  return new Set(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .flatMap(namespaces),
  );
}
