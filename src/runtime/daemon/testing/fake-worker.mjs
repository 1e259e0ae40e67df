/**
 * Stands in for a worker: says hello and then does what it is told, one JSON command a line, by whoever connects to its socket.
 * As an actor it is ready at once, or fails where `start.fail` says so.
 */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { connectToDaemon } from "./peer.mjs";

const config = JSON.parse(process.env.SHOAL_WORKER_CONFIG);
const address = `${config.sessionDir}/sockets/${config.workerId}.sock`;
const hello = {
  version: 1,
  role: "worker",
  id: config.workerId,
  pid: process.pid,
  jobId: config.jobId,
  namespace: config.namespace,
  address,
  runtimeEnv: config.runtimeEnv,
  logToDriver: true,
};

const commands = {
  print: ({ text }) => process.stdout.write(text),
  printError: ({ text }) => process.stderr.write(text),
  exit: ({ code }) => process.exit(code),
  kill: ({ signal }) => process.kill(process.pid, signal),
  heap: () => {
    const kept = [];
    for (;;) kept.push(new Array(1000).fill(Math.random()));
  },
  send: ({ message }) => send(message),
  child: () => spawn("sleep", ["1000"], { stdio: "inherit" }),
  env: ({ name }, reply) => reply(process.env[name] ?? null),
  cwd: (_command, reply) => reply(process.cwd()),
  config: (_command, reply) => reply(config),
};

let send;
createServer((socket) => {
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) {
      const command = JSON.parse(line);
      let replied = false;
      const reply = (value) => {
        replied = true;
        socket.write(`${JSON.stringify(value)}\n`);
      };
      const result = commands[command.do](command, reply);
      if (!replied) reply(result?.pid ?? null);
    }
  });
}).listen(address, () => {
  send = connectToDaemon(config.daemonSocket, hello, onMessage, () => process.exit(1));
});

function onMessage([kind, ...fields]) {
  if (kind === 38) {
    const [spec, incarnation] = fields;
    if (spec.start?.fail) send([18, spec.actorId, incarnation, "serialized error", spec.start.fail]);
    else if (!spec.start?.hang) send([18, spec.actorId, incarnation, null, ""]);
  } else if (kind === 37 || kind === 39) process.exit(0);
  else if (kind === 41) send([22, fields[0]]);
}
