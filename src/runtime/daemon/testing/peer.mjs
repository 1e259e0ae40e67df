/** The least that speaks the daemon's protocol, for the scripts that stand in for drivers and workers in tests. */
import { connect } from "node:net";
import { Packr, Unpackr } from "msgpackr";

const options = { useRecords: false, mapsAsObjects: true, int64AsType: "number", moreTypes: false };
const packr = new Packr(options);
const unpackr = new Unpackr(options);

/** Connects, says hello, and hands every message to `onMessage`. Returns `send`. */
export function connectToDaemon(socketPath, hello, onMessage, onClose) {
  const socket = connect(socketPath);
  let data = Buffer.alloc(0);
  const send = (message) => {
    const body = packr.pack([message]);
    const header = Buffer.alloc(6);
    header.writeUInt32LE(body.length, 0);
    header[4] = 1;
    socket.write(Buffer.concat([header, body]));
  };
  socket.on("data", (chunk) => {
    data = Buffer.concat([data, chunk]);
    while (data.length >= 6 && data.length >= 6 + data.readUInt32LE(0)) {
      const end = 6 + data.readUInt32LE(0);
      const batch = unpackr.unpack(data.subarray(6, end));
      data = data.subarray(end);
      for (const message of batch) onMessage(message, send);
    }
  });
  socket.on("error", () => {});
  socket.on("close", onClose);
  send([1, hello]);
  return send;
}
