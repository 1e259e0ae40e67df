/** Sockets of tests that speak to a node by hand: as an attacker does, or somebody who took the wrong port. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export async function rawConnection(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** All that arrives until the other side closes. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await once(socket, "close");
  return Buffer.concat(chunks);
}

/** Bytes of the next chunk. */
export async function nextChunk(socket: Socket): Promise<Buffer> {
  const [chunk] = (await once(socket, "data")) as [Buffer];
  return chunk;
}

/** Sends what is given, and resolves with all that comes back once the other side has closed. */
export async function say(port: number, bytes: Buffer | string): Promise<Buffer> {
  const socket = await rawConnection(port);
  socket.write(bytes);
  return readAll(socket);
}

/** A server on a free port that hands each connection to `serve`. */
export async function rawServer(serve: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    serve(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as { port: number }).port };
}

/** A port that passes connections on to `port` and keeps what the connecting side sent, one buffer for each connection. */
export async function recordingProxy(port: number): Promise<{ server: Server; port: number; recorded: Buffer[] }> {
  const recorded: Buffer[] = [];
  const proxy = await rawServer((socket) => {
    const at = recorded.push(Buffer.alloc(0)) - 1;
    const onward = connect(port, "127.0.0.1");
    onward.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      recorded[at] = Buffer.concat([recorded[at], chunk]);
    });
    socket.pipe(onward);
    onward.pipe(socket);
    socket.on("close", () => onward.destroy());
    onward.on("close", () => socket.destroy());
  });
  return { ...proxy, recorded };
}
