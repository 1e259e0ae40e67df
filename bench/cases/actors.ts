/** Actor calls: Ray's microbenchmarks. */
import { cpus } from "node:os";
import * as shoal from "shoal";
import { rate } from "../harness.ts";
import type { Scale } from "../measurement.ts";
import { type Case, inSession } from "./session.ts";

class Server {
  smallValue() {
    return Buffer.from("ok");
  }

  smallValueArg(_x: number) {
    return Buffer.from("ok");
  }
}

class AsyncServer {
  async smallValue() {
    return Buffer.from("ok");
  }

  async smallValueWithArg(_x: number) {
    return Buffer.from("ok");
  }
}

type AnyServer = shoal.ActorHandle<Server> | shoal.ActorHandle<AsyncServer>;

class Client {
  readonly servers: readonly AnyServer[];

  constructor(servers: readonly AnyServer[]) {
    this.servers = servers;
  }

  async smallValueBatch(count: number): Promise<void> {
    await shoal.get(this.servers.flatMap((server) => Array.from({ length: count }, () => server.smallValue.remote())));
  }

  async smallValueBatchArg(count: number): Promise<void> {
    const x = shoal.put(0);
    const servers = this.servers as readonly shoal.ActorHandle<Server>[];
    await shoal.get(servers.flatMap((server) => Array.from({ length: count }, () => server.smallValueArg.remote(x))));
  }
}

/** One call at a time, as a Ray actor without async methods. */
const ServerActor = shoal.remote(Server, { numCpus: 0, maxConcurrency: 1 });
const ClientActor = shoal.remote(Client, { numCpus: 0, maxConcurrency: 1 });
const AsyncActor = shoal.remote(AsyncServer);

const work = shoal.remote(async function work(servers: readonly AnyServer[], count: number) {
  await shoal.get(Array.from({ length: count }, (_, i) => servers[i % servers.length].smallValue.remote()));
});

/** Ray's `n_cpu`. */
const serverCount = Math.max(1, Math.floor(cpus().length / 2));

export const actorCases: Readonly<Record<string, Case>> = {
  "1:1 actor calls sync": inSession((scale) => oneByOne(scale, ServerActor.remote())),
  "1:1 actor calls async": inSession((scale) => batches(scale, ServerActor.remote())),
  "1:1 actor calls concurrent": inSession((scale) =>
    batches(scale, ServerActor.options({ numCpus: 0, maxConcurrency: 16 }).remote()),
  ),
  "1:n actor calls async": inSession((scale) => oneToMany(scale, () => ServerActor.remote())),
  "n:n actor calls async": inSession((scale) => manyToMany(scale, () => ServerActor.remote())),
  "n:n actor calls with arg async": inSession((scale) => {
    const count = scale.small ? 20 : 1000;
    const clients = Array.from({ length: serverCount }, () => ClientActor.remote([ServerActor.remote()]));
    return rate(scale, () => shoal.get(clients.map((client) => client.smallValueBatchArg.remote(count))), count * clients.length);
  }),
  "1:1 async-actor calls sync": inSession((scale) => oneByOne(scale, AsyncActor.remote())),
  "1:1 async-actor calls async": inSession((scale) => batches(scale, AsyncActor.remote())),
  "1:1 async-actor calls with args async": inSession((scale) => {
    const actor = AsyncActor.remote();
    const count = scale.small ? 20 : 1000;
    return rate(scale, () => shoal.get(Array.from({ length: count }, (_, i) => actor.smallValueWithArg.remote(i))), count);
  }),
  "1:n async-actor calls async": inSession((scale) => oneToMany(scale, () => AsyncActor.remote())),
  "n:n async-actor calls async": inSession((scale) => manyToMany(scale, () => AsyncActor.remote())),
};

function oneByOne(scale: Scale, actor: AnyServer) {
  return rate(scale, () => shoal.get(actor.smallValue.remote()));
}

function batches(scale: Scale, actor: AnyServer) {
  const count = scale.small ? 20 : 1000;
  return rate(scale, () => shoal.get(Array.from({ length: count }, () => actor.smallValue.remote())), count);
}

function oneToMany(scale: Scale, start: () => AnyServer) {
  const count = scale.small ? 20 : 5000;
  const servers = Array.from({ length: serverCount }, start);
  const client = ClientActor.remote(servers);
  return rate(scale, () => shoal.get(client.smallValueBatch.remote(count)), count * servers.length);
}

function manyToMany(scale: Scale, start: () => AnyServer) {
  const count = scale.small ? 20 : 5000;
  const servers = Array.from({ length: serverCount }, start);
  return rate(scale, () => shoal.get([0, 1, 2, 3].map(() => work.remote(servers, count))), count * 4);
}
