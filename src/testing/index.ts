/**
 * Several nodes of a real cluster on one machine, for tests of programs that must live through the loss of a node.
 *
 * ```ts
 * const cluster = new Cluster();
 * await cluster.addNode({ numCpus: 2 });                     // the head's
 * const node = await cluster.addNode({ numCpus: 2 });
 * await shoal.init({ address: cluster.address });
 * await cluster.removeNode(node);                            // as a machine that loses power
 * await cluster.close();
 * ```
 */
export { Cluster, type ClusterOptions, type NodeOptions, type TestNode } from "./cluster.ts";
