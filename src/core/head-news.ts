/**
 * News that a node keeps until the head has heard it: a connection that breaks loses what is under way on it, and nobody is told what that was.
 *
 * The head answers every heartbeat, in order: what was sent before a heartbeat that is answered has been heard. What has not is told again with the
 * inventory of the next join, so each of it may be heard twice. State that can be seen in what is left needs none of this.
 */
import { NodeKind, type NodeMessage } from "../wire/node-messages.ts";

/** News kept for a head that is away. Each is about 200 bytes; what is beyond goes unsaid, and the head finds out by what is not there any more. */
const newsMax = 10_000;

const kinds: ReadonlySet<number> = new Set([
  NodeKind.Exiting,
  NodeKind.ProcessEnded,
  NodeKind.JobStarted,
  NodeKind.DriverGone,
  NodeKind.BundlesRemoved,
]);

interface Kept {
  readonly message: NodeMessage;
  /** Heartbeats sent on this connection before it; null: it was not sent on this connection. */
  beats: number | null;
}

export class HeadNews {
  private kept: Kept[] = [];
  private beats = 0;
  private answered = 0;
  /** Of `kept`, the first so many are in the inventory under way. */
  private taken = 0;

  /** The head is told, or, when it is away, should have been. */
  note(message: NodeMessage, isSent: boolean): void {
    if (kinds.has(message[0]) && this.kept.length < newsMax) this.kept.push({ message, beats: isSent ? this.beats : null });
  }

  /** A heartbeat is being sent. */
  beat(): void {
    this.beats++;
  }

  /** The head has answered a heartbeat. */
  acknowledged(): void {
    this.answered++;
    if (this.kept.length > 0) this.kept = this.kept.filter(({ beats }) => beats === null || beats >= this.answered);
  }

  /** What was sent may not have been heard. */
  connectionLost(): void {
    this.beats = 0;
    this.answered = 0;
    for (const news of this.kept) news.beats = null;
  }

  /** For the inventory, in order. */
  take(): readonly NodeMessage[] {
    this.taken = this.kept.length;
    return this.kept.map(({ message }) => message);
  }

  /** The head has the inventory. */
  told(): void {
    this.kept.splice(0, this.taken);
    this.taken = 0;
  }
}
