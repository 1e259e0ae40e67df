/**
 * The network of a lab: a bridge in a network namespace of its own (the switch), and one namespace per host, joined to the bridge by a
 * veth pair. A namespace is held by an *anchor*, a process that only reads its input: when the test dies the anchors end, and the kernel
 * takes back namespaces, devices and rules. So nothing has a name outside, any number of labs may use the same addresses, and a killed
 * test leaves nothing.
 *
 *   switch namespace                    host namespaces
 *   [ br0 ]--- p-node1 ---------------- eth0 (10.77.0.11)
 *       \----- q-node2 ~ delay line ~ d-node2 [ b-node2 ] p-node2 --- eth0 (10.77.0.12)
 *
 * Loss, partitions and black holes are nftables rules on the bridge; rates are tc-tbf; a delay is delay-line.mjs spliced in, because
 * kernels of virtual machines are often built without netem.
 */
import { join } from "node:path";
import { type Command, mustRun, startCommand } from "./command.ts";

/** Environment of the lab's own tools. */
export const toolEnv: Readonly<Record<string, string>> = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** Starts a process that holds a network namespace until its input ends. */
export async function startAnchor(env: Readonly<Record<string, string>>): Promise<Command> {
  const anchor = startCommand(["unshare", "--net", "--", "sh", "-c", "echo ready; exec cat"], {
    env,
    timeoutMs: 2 ** 31 - 1,
  });
  await anchor.printed("ready");
  return anchor;
}

export async function endAnchor(anchor: Command): Promise<void> {
  anchor.child.stdin!.end();
  await anchor.exited;
}

/** Runs a tool in the namespace that `anchor` holds. */
export function inNetwork(anchor: Command, command: readonly string[], input?: string): Promise<string> {
  return mustRun(["nsenter", `--net=/proc/${anchor.pid}/ns/net`, "--", ...command], { env: toolEnv, input: input ?? "" });
}

/** What is wrong with the wires; kept here and made true by `#applyRules`. */
interface Faults {
  readonly blackholed: Set<string>;
  /** Percent of frames lost, per host. */
  readonly loss: Map<string, number>;
  /** "a b": frames from a to b are lost. */
  readonly oneWay: Set<string>;
  readonly rates: Map<string, string>;
  readonly delayLines: Map<string, Command>;
}

export class LabNetwork {
  readonly #switch: Command;
  readonly #env: Readonly<Record<string, string>>;
  readonly #faults: Faults = {
    blackholed: new Set(),
    loss: new Map(),
    oneWay: new Set(),
    rates: new Map(),
    delayLines: new Map(),
  };

  private constructor(anchor: Command, env: Readonly<Record<string, string>>) {
    this.#switch = anchor;
    this.#env = env;
  }

  static async up(env: Readonly<Record<string, string>>): Promise<LabNetwork> {
    const anchor = await startAnchor(env);
    await inNetwork(
      anchor,
      ["sh", "-c", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip -batch -"],
      "link add br0 type bridge stp_state 0 forward_delay 0\nlink set br0 up\nlink set lo up\n",
    );
    return new LabNetwork(anchor, env);
  }

  /** Connects a host's namespace; its link layer address follows from its number, so that others find it again after a boot. */
  async plug(host: string, hostAnchor: Command, addresses: readonly string[], number: number): Promise<void> {
    const mac = `02:00:0a:4d:00:${number.toString(16).padStart(2, "0")}`;
    await inNetwork(
      this.#switch,
      ["ip", "-batch", "-"],
      `link add p-${host} type veth peer name eth0 address ${mac} netns ${hostAnchor.pid}\nlink set p-${host} master br0 up\n`,
    );
    const lines = addresses.map((address) =>
      address.includes(":") ? `addr add ${address}/64 dev eth0 nodad` : `addr add ${address}/24 brd + dev eth0`,
    );
    await inNetwork(hostAnchor, ["ip", "-batch", "-"], `${lines.join("\n")}\nlink set lo up\nlink set eth0 up\n`);
  }

  /** Takes the host's port away, cable and all. */
  async unplug(host: string): Promise<void> {
    await this.setDelay(host, 0);
    await inNetwork(this.#switch, ["ip", "link", "del", `p-${host}`]);
    this.#faults.rates.delete(host);
  }

  /** Carrier on or off: both ends see it. */
  async setLink(host: string, up: boolean): Promise<void> {
    await inNetwork(this.#switch, ["ip", "link", "set", `p-${host}`, up ? "up" : "down"]);
  }

  async setBlackhole(host: string, on: boolean): Promise<void> {
    if (on) this.#faults.blackholed.add(host);
    else this.#faults.blackholed.delete(host);
    await this.#applyRules();
  }

  /** Loses frames from one host to another; the other direction is not touched. */
  async setOneWay(from: string, to: string, lost: boolean): Promise<void> {
    if (lost) this.#faults.oneWay.add(`${from} ${to}`);
    else this.#faults.oneWay.delete(`${from} ${to}`);
    await this.#applyRules();
  }

  /** Random loss in each direction, in percent. */
  async setLoss(host: string, percent: number): Promise<void> {
    if (percent > 0) this.#faults.loss.set(host, percent);
    else this.#faults.loss.delete(host);
    await this.#applyRules();
  }

  /** Limits each direction to a tc rate such as "10mbit"; undefined lifts the limit. */
  async setRate(host: string, hostAnchor: Command, rate: string | undefined): Promise<void> {
    if (rate === undefined && !this.#faults.rates.delete(host)) return;
    if (rate !== undefined) this.#faults.rates.set(host, rate);
    for (const [anchor, device] of [
      [this.#switch, `p-${host}`],
      [hostAnchor, "eth0"],
    ] as const) {
      const change = rate === undefined ? ["del"] : ["replace"];
      const shape = rate === undefined ? [] : ["tbf", "rate", rate, "burst", "64kb", "latency", "400ms"];
      await inNetwork(anchor, ["tc", "qdisc", ...change, "dev", device, "root", ...shape]);
    }
  }

  /** Adds a delay to each direction, in milliseconds; 0 takes the delay line out. */
  async setDelay(host: string, delayMs: number): Promise<void> {
    await this.#unspliceDelay(host);
    if (delayMs <= 0) return;
    await inNetwork(
      this.#switch,
      ["ip", "-batch", "-"],
      `${[
        `link add b-${host} type bridge stp_state 0 forward_delay 0`,
        `tuntap add dev d-${host} mode tap`,
        `tuntap add dev q-${host} mode tap`,
        `link set p-${host} master b-${host}`,
        `link set d-${host} master b-${host} up`,
        `link set q-${host} master br0 up`,
        `link set b-${host} up`,
      ].join("\n")}\n`,
    );
    const line = startCommand(
      [
        "nsenter",
        `--net=/proc/${this.#switch.pid}/ns/net`,
        "--",
        process.execPath,
        join(import.meta.dirname, "delay-line.mjs"),
        `d-${host}`,
        `q-${host}`,
        String(delayMs),
      ],
      { env: this.#env, timeoutMs: 2 ** 31 - 1 },
    );
    this.#faults.delayLines.set(host, line);
    await line.printed("ready");
  }

  async #unspliceDelay(host: string): Promise<void> {
    const line = this.#faults.delayLines.get(host);
    if (line === undefined) return;
    this.#faults.delayLines.delete(host);
    line.child.kill("SIGKILL");
    await line.exited;
    await inNetwork(
      this.#switch,
      ["ip", "-batch", "-"],
      `link set p-${host} master br0\nlink del d-${host}\nlink del q-${host}\nlink del b-${host}\n`,
    );
  }

  /** Everything about this host's wire as new. */
  async heal(host: string, hostAnchor: Command): Promise<void> {
    this.#faults.blackholed.delete(host);
    this.#faults.loss.delete(host);
    for (const pair of this.#faults.oneWay) if (pair.split(" ").includes(host)) this.#faults.oneWay.delete(pair);
    await this.#applyRules();
    await this.setRate(host, hostAnchor, undefined);
    await this.setDelay(host, 0);
    await this.setLink(host, true);
  }

  async down(): Promise<void> {
    for (const line of this.#faults.delayLines.values()) {
      line.child.kill("SIGKILL");
      await line.exited;
    }
    await endAnchor(this.#switch);
  }

  /** Replaces the whole set of rules in one transaction. Behind a delay line a host's port on br0 is q-HOST. */
  async #applyRules(): Promise<void> {
    const rules: string[] = [];
    for (const host of this.#faults.blackholed) rules.push(`iifname "p-${host}" drop`, `oifname "p-${host}" drop`);
    for (const [host, percent] of this.#faults.loss) {
      const lost = `numgen random mod 100000 < ${Math.round(percent * 1000)} drop`;
      rules.push(`iifname "p-${host}" ${lost}`, `oifname "p-${host}" ${lost}`);
    }
    for (const pair of this.#faults.oneWay) {
      const [from, to] = pair.split(" ");
      rules.push(`iifname { "p-${from}", "q-${from}" } oifname { "p-${to}", "q-${to}" } drop`);
    }
    const chain = `chain wires {\ntype filter hook forward priority 0; policy accept;\n${rules.join("\n")}\n}`;
    const table = rules.length === 0 ? "" : `table bridge faults {\n${chain}\n}\n`;
    await inNetwork(this.#switch, ["nft", "-f", "-"], `add table bridge faults\ndelete table bridge faults\n${table}`);
  }
}
