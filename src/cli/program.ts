/** The command line's grammar. What commands do is loaded when they run. */
import { createRequire } from "node:module";
import { Command, CommanderError, Option } from "commander";
import { isShoalError } from "../base/errors.ts";
import { commandName } from "./command-name.ts";
import { Failure, UsageError } from "./failure.ts";

/** Called with what a command gives: its exit code. */
type Run = (command: Promise<number> | number) => Promise<void>;

/** Runs a command line; resolves with the exit code: 0 done, 1 failed, 2 used wrongly. Prints why. */
export async function runCli(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = grammar(async (command) => {
    exitCode = await command;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has said why
    const known = error instanceof Failure || error instanceof UsageError || error instanceof TypeError || isShoalError(error);
    process.stderr.write(`${known ? (error as Error).message : ((error as Error)?.stack ?? error)}\n`);
    if (error instanceof UsageError) return 2;
    return error instanceof Failure ? error.exitCode : 1;
  }
}

/** All commands and options. Exported for the tests of the grammar. */
export function grammar(run: Run): Command {
  const program = new Command(commandName())
    .description("Clusters of Shoal: start and end nodes, see what runs, submit jobs.")
    .version(String(createRequire(import.meta.url)("shoal/package.json").version))
    .exitOverride()
    .enablePositionalOptions()
    .showHelpAfterError("(--help shows what there is)");
  addNodeCommands(program, run);
  addListings(program, run);
  addUpkeep(program, run);
  addJobs(program, run);
  return program;
}

const ofCluster = (command: Command): Command =>
  command
    .option("--address <host:port>", "the cluster; default SHOAL_ADDRESS, else the one that runs on this machine")
    .option("--session <name>", "the node on this machine to ask, when there are several")
    .option("--temp-dir <dir>", "where sessions are kept, if it was given to start");

const listing = (command: Command): Command => ofCluster(command).option("--json", "print JSON");

function nodeOptions(command: Command): Command {
  return command
    .option("--num-cpus <n>", "CPUs to offer; default those this process may use")
    .option("--num-gpus <n>", "GPUs to offer; default those the system lists")
    .option("--memory <bytes>", "memory to offer, for scheduling only")
    .option("--resources <json>", `custom resources, e.g. '{"slot": 2}'`)
    .option("--labels <k=v,...>", "labels of the node, for label selectors")
    .option("--object-store-memory <bytes>", "shared memory for objects; default 30 % of RAM")
    .option("--temp-dir <dir>", "where sessions, logs and spilled objects are kept; default SHOAL_TMPDIR, TMPDIR or /tmp")
    .option("--token-file <file>", "the cluster's token; default SHOAL_AUTH_TOKEN, else ~/.shoal/auth_token")
    .option("--tls-cert <file>", "PEM certificate of this node; default SHOAL_TLS_CERT")
    .option("--tls-key <file>", "its key; default SHOAL_TLS_KEY")
    .option("--tls-ca <file>", "PEM certificates of those who may sign nodes'; default SHOAL_TLS_CA")
    .option("--join-timeout <seconds>", "how long to wait for the cluster's token in the home and for the head; default 60");
}

function addNodeCommands(program: Command, run: Run): void {
  nodeOptions(program.command("start").description("start a node on this machine"))
    .option("--head", "start a cluster; this is its head")
    .option("--address <host:port>", "join the cluster whose head is there")
    .option("--port <n>", "port to listen on; 0 is any free one; default 6379 for a head, any for others")
    .option("--node-ip-address <ip>", "address to listen on, at which other nodes reach this one")
    .option("--store <file>", "where the head keeps what a later head goes on with")
    .option("--dashboard-host <host>", "where the head's dashboard listens; default 127.0.0.1")
    .option("--dashboard-port <n>", "its port; 0 is any free one; default 8265 or the next free one")
    .option("--no-dashboard", "no dashboard")
    .addOption(new Option("--include-dashboard <boolean>", "whether there is one").hideHelp())
    .option("--block", "stay until the node ends, and pass SIGTERM, SIGINT and SIGUSR1 on to it")
    .action(async (flags) => run((await import("./start.ts")).start(flags)));

  program
    .command("stop")
    .description("end this user's node on this machine")
    .option("--session <name>", "that one of several")
    .option("--address <host:port>", "those of the cluster whose head is there")
    .option("--all", "all of this user's")
    .option("-f, --force", "at once, without waiting for what runs")
    .option("-g, --grace-period <seconds>", "how long a node has to end by itself; default 16")
    .option("--temp-dir <dir>", "where sessions are kept, if it was given to start")
    .action(async (flags) => run((await import("./stop.ts")).stop(flags)));

  const symmetric = program
    .command("symmetric-run")
    .description("the same line on every node: a cluster for one command, which runs at the address named")
    .argument("<command...>", "the command, behind --")
    .option("--address <host:port>", "address of the head: one of these machines")
    .option("--min-nodes <n>", "nodes to wait for before the command runs; default 1")
    .option("--wait-timeout <seconds>", "how long to wait for them, and for the head; default 60")
    .passThroughOptions();
  for (const name of ["--head", "--block"]) symmetric.addOption(new Option(name).hideHelp());
  for (const name of ["--port <n>", "--node-ip-address <ip>"]) symmetric.addOption(new Option(name).hideHelp());
  nodeOptions(symmetric).action(async (command, flags) => run((await import("./symmetric-run.ts")).symmetricRun(command, flags)));
}

function addListings(program: Command, run: Run): void {
  listing(program.command("status").description("nodes, resources, and what waits for them")).action(async (flags) =>
    run((await import("./listings.ts")).status(flags)),
  );
  listing(program.command("list").description("list nodes, actors, tasks, workers, jobs or placement-groups"))
    .argument("<kind>", "what to list")
    .option("-f, --filter <key=value>", "only those; also key!=value; several add up", (text: string, before: string[] = []) => [
      ...before,
      text,
    ])
    .option("--limit <n>", "the last n; default 100")
    .action(async (kind, flags) => run((await import("./listings.ts")).list(kind, flags)));
  listing(program.command("get").description("one of what list lists"))
    .argument("<kind>")
    .argument("<id>", "its id, or the beginning of it")
    .action(async (kind, id, flags) => run((await import("./listings.ts")).get(kind, id, flags)));
  listing(program.command("summary").description("counts of tasks or actors by name and state, or the object store's figures"))
    .argument("<kind>", "tasks, actors or objects")
    .action(async (kind, flags) => run((await import("./listings.ts")).summary(kind, flags)));
  listing(program.command("logs").description("log files of all nodes: list them, or print some"))
    .argument("[file]", "name, its beginning, or a pattern with *")
    .option("--node <id>", "only those of that node: its id, or the beginning of it")
    .addOption(new Option("--node-id <id>").hideHelp())
    .option("--follow", "print what is added, until the nodes end")
    .option("--tail <lines>", "only the last lines; -1 for all; default 1000")
    .action(async (file, flags) => run((await import("./logs.ts")).logs(file, flags)));
}

function addUpkeep(program: Command, run: Run): void {
  listing(program.command("memory").description("memory of each node: machine, object store, workers")).action(async (flags) =>
    run((await import("./upkeep.ts")).memory(flags)),
  );
  ofCluster(program.command("timeline").description("what ran when and where, as a Chrome trace"))
    .option("-o, --output <file>", "where to write it")
    .action(async (flags) => run((await import("./upkeep.ts")).timeline(flags)));
  listing(program.command("health-check").description("exit code 0 when the cluster answers, else 1")).action(async (flags) =>
    run((await import("./upkeep.ts")).healthCheck(flags)),
  );
  ofCluster(program.command("drain-node").description("let a node finish what it has, and leave"))
    .option("--node-id <id>", "the node's id, or the beginning of it")
    .option("--reason <text>", "for the logs")
    .action(async (flags) => run((await import("./upkeep.ts")).drainNode(flags)));
  ofCluster(program.command("kill-actor").description("end an actor"))
    .argument("[id]", "its id, or the beginning of it")
    .option("--name <name>", "its name instead")
    .option("--namespace <namespace>", "where the name is; default 'default'")
    .option("--restart", "let it start again if it has restarts left")
    .addOption(new Option("--no-restart").hideHelp())
    .addOption(new Option("--force").hideHelp())
    .action(async (id, flags) => run((await import("./upkeep.ts")).killActor(id, flags)));
  program
    .command("get-auth-token")
    .description("print the cluster's token")
    .option("--generate", "make one if there is none")
    .option("--token-file <file>", "where it is")
    .action(async (flags) => run((await import("./upkeep.ts")).getAuthToken(flags)));
  program
    .command("microbenchmark")
    .description("rates of the basic operations, on a session of its own or on the cluster named")
    .option("--address <host:port>", "the cluster to measure")
    .option("--filter <text>", "only operations whose names hold it")
    .option("--json", "print JSON")
    .action(async (flags) => run((await import("./microbenchmark.ts")).microbenchmark(flags)));
}

function addJobs(program: Command, run: Run): void {
  const job = program.command("job").description("commands that run on the head's node").enablePositionalOptions();
  listing(job.command("submit").description("run a command beside the head and follow its output"))
    .argument("<command...>", "the command, behind --")
    .option("--submission-id <id>", "its name; default a new one")
    .option("--working-dir <dir>", "directory on the head's machine to run in; default the current one")
    .option("--runtime-env-json <json>", `e.g. '{"envVars": {"A": "1"}}'`)
    .option("--no-wait", "return as soon as it runs")
    .addOption(new Option("--wait", "stay until it has ended; the default"))
    .passThroughOptions()
    .action(async (command, flags) => run((await import("./job.ts")).submitJob(command, flags)));
  listing(job.command("status").description("its state"))
    .argument("<id>")
    .action(async (id, flags) => run((await import("./job.ts")).jobStatus(id, flags)));
  listing(job.command("logs").description("what it printed"))
    .argument("<id>")
    .option("-f, --follow", "go on until it has ended")
    .addOption(new Option("--offset <bytes>").hideHelp())
    .action(async (id, flags) => run((await import("./job.ts")).jobLogs(id, flags)));
  listing(job.command("stop").description("end it"))
    .argument("<id>")
    .action(async (id, flags) => run((await import("./job.ts")).jobStop(id, flags)));
  listing(job.command("list").description("all jobs submitted to this head")).action(async (flags) =>
    run((await import("./job.ts")).jobList(flags)),
  );
  program
    .command("job-supervisor", { hidden: true })
    .action(async () => run((await import("./job-supervisor.ts")).superviseJob()));
}
