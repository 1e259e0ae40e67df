/**
 * Objects whose bytes are on another node, as one process meets them: whether a copy is here, and asking the node daemon for one.
 */
import { type NodeKey, nodeKeyOf, type ObjectIndex, type WorkerId } from "../../base/ids.ts";
import { copyLocation, holderOf } from "../../objects/segment-name.ts";
import type { Location } from "../../objects/types.ts";
import type { Runtime } from "./runtime.ts";

/** Null: the bytes are here now. A text: nobody has them, and why. */
export type Pulled = string | null;

export class Pulls {
  private readonly runtime: Runtime;
  private readonly self: NodeKey;
  /** Asked for and not answered, by the copy's name. */
  private readonly underWay = new Map<string, Promise<Pulled>>();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.self = nodeKeyOf(runtime.selfId);
  }

  /** Whether another node wrote the bytes at `location`. */
  isElsewhere(location: Location): boolean {
    return (holderOf(location) ?? this.self) !== this.self;
  }

  /** Where the bytes of `location` are on this node, if they are. */
  here(location: Location): Location {
    return this.isElsewhere(location) ? copyLocation(location, this.self) : location;
  }

  /** Whether reading would have to wait for another node. */
  mustPull(location: Location): boolean {
    return this.isElsewhere(location) && !this.runtime.store().has(copyLocation(location, this.self));
  }

  /** Brings the bytes of an object here. Rejects when the daemon cannot: OutOfDiskError, or the session is over. */
  pull(location: Location, owner: WorkerId, index: ObjectIndex): Promise<Pulled> {
    const { name } = copyLocation(location, this.self);
    const known = this.underWay.get(name);
    if (known !== undefined) return known;
    const pulled = this.request({ location, owner, index }).finally(() => this.underWay.delete(name));
    this.underWay.set(name, pulled);
    return pulled;
  }

  /** Begins to bring it, for whoever reads it later. */
  begin(location: Location, owner: WorkerId, index: ObjectIndex): void {
    if (this.mustPull(location)) this.pull(location, owner, index).catch(() => {}); // whoever reads it asks again and is told
  }

  private async request(params: { location: Location; owner: WorkerId; index: ObjectIndex }): Promise<Pulled> {
    const { name, offset, bytes } = params.location;
    const answer = await this.runtime.daemon.request("pull", { ...params, location: { name, offset, bytes } });
    return "gone" in answer ? answer.gone : null;
  }
}
