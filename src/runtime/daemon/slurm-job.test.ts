import { describe, expect, it } from "vitest";
import { refusalByJob, slurmJobLabels } from "./slurm-job.ts";

describe("refusalByJob()", () => {
  const job = (id: string) => slurmJobLabels({ SLURM_JOB_ID: id });

  it("refuses a node of another job, and names both", () => {
    expect(refusalByJob(job("7"), job("8"))).toMatch(
      /^its head is of Slurm job 7 and this node of job 8\. .* --labels slurm\.job=7$/,
    );
  });

  it("takes nodes of its own job, and nodes and heads of none", () => {
    expect(refusalByJob(job("7"), job("7"))).toBeNull();
    expect(refusalByJob(job("7"), slurmJobLabels({}))).toBeNull();
    expect(refusalByJob(slurmJobLabels({ SLURM_JOB_ID: "" }), job("7"))).toBeNull();
  });
});
