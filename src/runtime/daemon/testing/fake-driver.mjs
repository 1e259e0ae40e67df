/** Stands in for a driver that is to be killed: starts a daemon, connects, prints the daemon's pid when workers are there, and waits. */
import { spawn } from "node:child_process";
import { connectToDaemon } from "./peer.mjs";

const [daemonEntry, configText, mode] = process.argv.slice(2);
const config = { ...JSON.parse(configText), driverPid: process.pid };
const daemon = spawn(process.execPath, [daemonEntry], {
  detached: true,
  stdio: ["ignore", "ignore", "ignore", "pipe"],
  env: { ...process.env, SHOAL_DAEMON_CONFIG: JSON.stringify(config) },
});
daemon.unref();
daemon.stdio[3].once("data", () => {
  if (mode === "never connects") return console.log(daemon.pid);
  const hello = {
    version: 1,
    role: "driver",
    id: "d".repeat(16),
    pid: process.pid,
    jobId: "",
    namespace: "",
    address: "",
    runtimeEnv: null,
    logToDriver: true,
  };
  const send = connectToDaemon(`${config.sessionDir}/sockets/daemon.sock`, hello, onMessage, () => process.exit(0));
  const ask = () => send([4, 1, "listWorkers", {}]);
  ask();
  function onMessage([kind, , ok, value]) {
    if (kind !== 5 || !ok) return;
    if (value.length < 2 || value.some((worker) => worker.state === "starting")) return setImmediate(ask);
    console.log([daemon.pid, ...value.map((worker) => worker.pid)].join(" "));
  }
});
setInterval(() => {}, 1000);
