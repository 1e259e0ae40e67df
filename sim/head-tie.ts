/** A simulated node's tie to the head: what runtime/daemon/head-watch does, and requests that are passed on. */
import type { NodeId } from "../src/base/ids.ts";
import { HeadNews } from "../src/core/head-news.ts";
import { type ClusterNode, NodeKind, type NodeMessage } from "../src/wire/node-messages.ts";
import type { Daemon } from "./daemon.ts";
import { type Caller, joinInfoOf } from "./head.ts";
import { heartbeatMs, nodeTimeoutMs } from "./simulation.ts";

const joinRetryMs = 250;
const joinAnswerMs = 2_000;
const newsMs = 20;

type Answer = (ok: boolean, value: unknown) => void;

export class HeadTie {
  private readonly daemon: Daemon;
  private readonly requests = new Map<number, Answer>();
  private readonly news = new HeadNews();
  /** Those that wait for the head to be back. */
  private waiting: (() => void)[] = [];
  private nextRequest = 1;
  private sequence = 0;
  private heardAtMs = 0;
  joined = false;
  private joining = false;
  /** What is sent now is heard after the request to join. */
  private isTalking = false;
  private beating = false;
  private newsPlanned = false;
  private lastNews = "";

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  private get head(): NodeId {
    return this.daemon.shared.headId;
  }

  private get now(): number {
    return this.daemon.shared.world.now;
  }

  get isJoined(): boolean {
    return this.joined && !this.joining && this.isTalking;
  }

  private get isSilent(): boolean {
    return this.now - this.heardAtMs >= nodeTimeoutMs;
  }

  /** Asks to be a member until it is answered, or the head has been silent too long. */
  join(): void {
    if (this.joining) return;
    this.joining = true;
    if (!this.joined) this.heardAtMs = this.now;
    this.tryJoin();
  }

  private tryJoin(): void {
    let answered = false;
    const again = (): void => {
      if (answered) return;
      answered = true;
      this.isTalking = false;
      if (this.isSilent) return this.daemon.end("the head is out of reach");
      this.daemon.after(joinRetryMs, () => this.tryJoin());
    };
    this.request("join", joinInfoOf(this.daemon, this.news.take()), (ok, value) => {
      if (answered) return;
      if (!ok && value === "lost") return again();
      answered = true;
      if (!ok) return this.daemon.end(`refused: ${value}`);
      const isBack = this.joined;
      this.joining = false;
      this.joined = true;
      this.heardAtMs = this.now;
      this.news.told();
      this.daemon.obey([NodeKind.Nodes, value as ClusterNode[]]);
      if (isBack) this.daemon.repeatNews();
      for (const goOn of this.waiting.splice(0)) goOn();
      this.sendHeartbeat();
      if (!this.beating) this.beat();
    });
    this.isTalking = true;
    this.daemon.after(joinAnswerMs, again);
  }

  private beat(): void {
    this.beating = true;
    this.daemon.after(heartbeatMs, () => {
      this.beat();
      if (this.joining) return;
      this.sendHeartbeat();
      if (this.isSilent) this.daemon.end("nothing was heard from the head");
    });
  }

  disconnected(peer: NodeId): void {
    if (peer !== this.head) return;
    this.isTalking = false;
    this.news.connectionLost();
    const lost = [...this.requests.values()];
    this.requests.clear();
    for (const answer of lost) answer(false, "lost");
    if (this.joined) this.join();
  }

  // -------------------------------------------------------------- messages

  /** True when it was an answer. */
  receive(from: NodeId, message: NodeMessage): boolean {
    if (from === this.head) this.heardAtMs = this.now;
    if (message[0] === NodeKind.Nodes && message[1].length === 0) this.news.acknowledged();
    if (message[0] !== NodeKind.Response) return false;
    const answer = this.requests.get(message[1]);
    this.requests.delete(message[1]);
    answer?.(message[2], message[3]);
    return true;
  }

  send(message: NodeMessage): void {
    this.news.note(message, this.isTalking);
    if (!this.isTalking) return;
    this.daemon.shared.onOrder(this.daemon.nodeId, message[0]);
    this.daemon.sendNode(this.head, message);
  }

  /** Waits for a head that is away; what it may have answered when it was lost is asked again. */
  ask(method: string, params: unknown, caller: Caller, answer: Answer): void {
    if (!this.daemon.hasProcess(caller.workerId)) return; // it would be done after its end
    if (!this.isJoined) return void this.waiting.push(() => this.ask(method, params, caller, answer));
    this.request(method, [params, caller], (ok, value) => {
      if (ok || value !== "lost") answer(ok, value);
      else this.ask(method, params, caller, answer);
    });
  }

  private request(method: string, params: unknown, answer: Answer): void {
    const id = this.nextRequest++;
    this.requests.set(id, answer);
    this.daemon.sendNode(this.head, [NodeKind.Request, id, method, params]);
  }

  /** Something was granted or given back here: the head is told soon, if it changed what is free. */
  resourcesChanged(): void {
    if (this.newsPlanned) return;
    this.newsPlanned = true;
    this.daemon.after(newsMs, () => {
      this.newsPlanned = false;
      const news = JSON.stringify(this.daemon.free());
      if (news === this.lastNews || !this.joined) return;
      this.lastNews = news;
      this.sendHeartbeat();
    });
  }

  /** Less is here than the head believes, which is told before it hears so. */
  refusing(): void {
    this.lastNews = JSON.stringify(this.daemon.free());
    this.sendHeartbeat();
  }

  private sendHeartbeat(): void {
    if (!this.isTalking) return;
    this.news.beat();
    this.send([NodeKind.Heartbeat, ++this.sequence, this.daemon.free(), [], 0]);
  }
}
