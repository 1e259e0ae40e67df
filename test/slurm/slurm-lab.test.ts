/** The Slurm of the lab is a real one: jobs run on all nodes, are cancelled, meet their time limit, lose a node. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { processesMentioning } from "../support/processes.ts";
import { SlurmLab, slurmSupported } from "./slurm-lab.ts";

const reason = slurmSupported();
const title = (name: string) => (reason === null ? name : `${name} (skipped: ${reason})`);
let slurm: SlurmLab;

describe.skipIf(reason !== null)(title("SlurmLab"), () => {
  beforeAll(async () => {
    slurm = await SlurmLab.up({ nodeTimeoutSeconds: 6, killWaitSeconds: 2 });
  });
  afterAll(async () => {
    await slurm?.destroy();
    if (slurm) expect(processesMentioning(slurm.lab.id)).toEqual([]);
  });

  test("a job on three nodes runs a step on each", async () => {
    const id = await slurm.sbatch({ text: "#!/bin/bash\nsrun hostname | sort\necho nodes $SLURM_JOB_NUM_NODES\n" }, [
      "-N3",
      "--exclusive",
    ]);
    await slurm.reached(id, ["COMPLETED"]);
    expect(slurm.output(id)).toBe("node1\nnode2\nnode3\nnodes 3\n");
  });

  test("a failing job and a cancelled one say so", async () => {
    const failing = await slurm.sbatch({ text: "#!/bin/bash\nexit 3\n" });
    expect(await slurm.reached(failing, ["FAILED"])).toMatchObject({ exitCode: "3:0" });
    const waiting = await slurm.sbatch({ text: "#!/bin/bash\necho started\nsrun cat /dev/zero >/dev/null\n" }, ["-N1"]);
    await slurm.printed(waiting, "started");
    await slurm.scancel(String(waiting));
    await slurm.reached(waiting, ["CANCELLED"]);
    await expect(slurm.reached(waiting, ["COMPLETED"])).rejects.toThrow(/is CANCELLED .* and not COMPLETED\nstarted/);
    await slurm.idle();
  });

  test("a job whose node loses its power fails, and the node comes back after its boot", async () => {
    const id = await slurm.sbatch({ text: "#!/bin/bash\nsrun sh -c 'echo started; cat /dev/zero >/dev/null'\n" }, [
      "-N3",
      "--no-kill=off",
      "--no-requeue", // else it may be pending again before anybody has seen it fail
    ]);
    await slurm.printed(id, /(started\n){3}/); // before that the step's launch fails, which is another end
    await slurm.nodes[2].powerOff();
    // Its state may stay COMPLETING until the node answers again; its output says at once what ended it.
    await slurm.printed(id, "DUE TO NODE FAILURE", 90_000);
    await slurm.nodes[2].boot();
    await slurm.startNode(slurm.nodes[2]);
    await slurm.idle(90_000);
  });
});
