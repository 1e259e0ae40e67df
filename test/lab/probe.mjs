/**
 * probe.mjs: a peer for the lab's own tests, with a line for each thing it sees.
 *   probe.mjs serve PORT            answers TCP with what it gets, and UDP datagrams each with the same
 *   probe.mjs hold HOST PORT        connects, says "connected", echoes each line of its input through the server, reports the end
 *   probe.mjs datagrams HOST PORT N sends N numbered datagrams 2 ms apart and says how many came back within 0.5 s of the last, and
 *                                   the median round trip
 *   probe.mjs fetch HOST PORT BYTES sends so many bytes and says how long it took until all had come back
 */
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const [what, ...args] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${line}\n`);

function serve(port) {
  const udp = createSocket("udp4");
  udp.on("message", (bytes, from) => udp.send(bytes, from.port, from.address));
  udp.bind(port);
  createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => socket.write(bytes));
  }).listen(port, "0.0.0.0", () => say("serving"));
}

function hold(host, port) {
  const socket = connect(port, host, () => say("connected"));
  socket.setNoDelay(true);
  socket.on("data", (bytes) => say(`echo ${bytes.toString().trim()}`));
  socket.on("error", (error) => say(`error ${error.code}`));
  socket.on("end", () => say("end"));
  socket.on("close", () => process.exit(0));
  process.stdin.on("data", (bytes) => socket.write(bytes));
}

function datagrams(host, port, count) {
  const udp = createSocket("udp4");
  const sentAt = new Map();
  const trips = [];
  udp.on("message", (bytes) => trips.push(performance.now() - sentAt.get(bytes.readUInt32LE(0))));
  udp.on("error", () => undefined);
  let next = 0;
  const sending = setInterval(() => {
    if (next === count) {
      clearInterval(sending);
      setTimeout(() => {
        trips.sort((a, b) => a - b);
        say(JSON.stringify({ sent: count, returned: trips.length, medianMs: trips[trips.length >> 1] ?? null }));
        udp.close();
      }, 500);
      return;
    }
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(next, 0);
    sentAt.set(next++, performance.now());
    udp.send(bytes, port, host, () => undefined);
  }, 2);
}

function fetch(host, port, bytes) {
  const startedAt = performance.now();
  let back = 0;
  const socket = connect(port, host, () => socket.write(Buffer.alloc(bytes)));
  socket.on("data", (chunk) => {
    back += chunk.length;
    if (back < bytes) return;
    say(JSON.stringify({ bytes, ms: performance.now() - startedAt }));
    socket.destroy();
  });
}

if (what === "serve") serve(Number(args[0]));
else if (what === "hold") hold(args[0], Number(args[1]));
else if (what === "datagrams") datagrams(args[0], Number(args[1]), Number(args[2]));
else if (what === "fetch") fetch(args[0], Number(args[1]), Number(args[2]));
