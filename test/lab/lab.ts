/**
 * A lab: several hosts on one Linux machine, for tests of what only many machines do. A host has its own network, name, processes,
 * /tmp and /dev/shm; all else is common, as on a cluster with a network file system. Needs root, iproute2, nftables and util-linux.
 *
 * The idea is that the kernel cleans up: everything a lab consists of hangs on processes that end with the test. Only the shared
 * directory has a name in the file system; it tells the process that made it, and a later run removes those of the dead.
 */
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LabHost } from "./lab-host.ts";
import { LabNetwork, toolEnv } from "./lab-network.ts";

export interface LabOptions {
  /** Size of each host's /dev/shm, as mount(8) takes it. */
  shm?: string;
  /** Each host's own name is 127.0.1.1 in its /etc/hosts, as Debian's installer leaves it. */
  loopbackNames?: boolean;
  /** Gives each host an IPv6 address as well, listed in /etc/hosts. */
  ipv6?: boolean;
  env?: Readonly<Record<string, string>>;
}

export const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Where shared directories are; outside /tmp, which each host has for itself. */
const sharedRoot = "/var/tmp";
const sharedName = /^shoal-lab-(\d+)-(\d+)-\d+$/;
const tools = ["ip", "tc", "nft", "unshare", "nsenter", "setpriv", "bash"];
let labsMade = 0;

/** Why labs cannot be made on this machine, or null when they can. */
export function labSupported(): string | null {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root";
  for (const tool of tools) if (!isCommand(tool)) return `needs the command '${tool}'`;
  for (const kind of ["net", "pid", "uts", "ipc", "mnt"])
    if (!existsSync(`/proc/self/ns/${kind}`)) return `needs ${kind} namespaces in the kernel`;
  return null;
}

export function isCommand(name: string): boolean {
  return toolEnv.PATH.split(":").some((dir) => {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export class Lab implements AsyncDisposable {
  /** Tells this lab from all others; in the environment of every process of it, and the name of its shared directory. */
  readonly id: string;
  /** A directory that all hosts share. It holds `home`, their HOME. */
  readonly shared: string;
  readonly hosts: readonly LabHost[];
  readonly #network: LabNetwork;

  private constructor(id: string, shared: string, hosts: readonly LabHost[], network: LabNetwork) {
    this.id = id;
    this.shared = shared;
    this.hosts = hosts;
    this.#network = network;
  }

  /** Makes a lab of hosts with these names, all booted. */
  static async up(names: readonly string[], options: LabOptions = {}): Promise<Lab> {
    sweepSharedDirectories();
    const id = `shoal-lab-${process.pid}-${startTime(process.pid)}-${labsMade++}`;
    const shared = join(sharedRoot, id);
    mkdirSync(join(shared, "home"), { recursive: true, mode: 0o755 });
    const env = {
      PATH: `${dirname(process.execPath)}:${toolEnv.PATH}`,
      HOME: join(shared, "home"),
      LC_ALL: "C.UTF-8",
      SHOAL_LAB: id,
      ...options.env,
    };
    const addressOf = (index: number) => `10.77.0.${11 + index}`;
    const network = await LabNetwork.up(env);
    const hosts = names.map((name, index) => {
      if (!/^[a-z][a-z0-9-]{0,12}$/.test(name)) throw new Error(`Cannot name a host '${name}' as it needs 1-13 of a-z, 0-9, -`);
      const plan = {
        name,
        env,
        number: 11 + index,
        address: addressOf(index),
        addresses: options.ipv6 ? [`fd77::${11 + index}`] : [],
        hosts: hostsFile(names, index, addressOf, options),
        shm: options.shm ?? "2g",
        keep: repository,
      };
      return new LabHost(plan, network);
    });
    const lab = new Lab(id, shared, hosts, network);
    try {
      await Promise.all(hosts.map((host) => host.boot()));
    } catch (error) {
      await lab.destroy();
      throw error;
    }
    return lab;
  }

  host(name: string): LabHost {
    const found = this.hosts.find((host) => host.name === name);
    if (found === undefined)
      throw new Error(`Cannot use host '${name}' as the lab has ${this.hosts.map((h) => h.name).join(", ")}`);
    return found;
  }

  /** Ends every process of the lab and removes its network and files. */
  async destroy(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.powerOff()));
    await this.#network.down();
    rmSync(this.shared, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }
}

function hostsFile(
  names: readonly string[],
  own: number,
  addressOf: (index: number) => string,
  { loopbackNames, ipv6 }: LabOptions,
): string {
  const lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"];
  for (const [index, name] of names.entries()) {
    lines.push(`${loopbackNames && index === own ? "127.0.1.1" : addressOf(index)} ${name}`);
    if (ipv6) lines.push(`fd77::${11 + index} ${name}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Removes the shared directories of labs whose process is gone. */
export function sweepSharedDirectories(): void {
  for (const name of readdirSync(sharedRoot)) {
    const match = sharedName.exec(name);
    if (match !== null && startTime(Number(match[1])) !== match[2])
      rmSync(join(sharedRoot, name), { recursive: true, force: true });
  }
}

/** When a process started, in clock ticks since boot, which tells it from another that got its pid later; "" for one that has ended. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : fields[19];
  } catch {
    return "";
  }
}
