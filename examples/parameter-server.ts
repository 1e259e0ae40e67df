/**
 * A parameter server: an actor keeps the weights of a model, tasks compute gradients on their own part of the data against the weights of the
 * moment. Fits y = 3 x + 2 to noisy points. Run it with `npx tsx examples/parameter-server.ts`.
 */
import * as shoal from "shoal";

interface Weights {
  slope: number;
  intercept: number;
}

class ParameterServer {
  private weights: Weights = { slope: 0, intercept: 0 };
  private readonly rate: number;

  constructor(rate: number) {
    this.rate = rate;
  }

  read(): Weights {
    return this.weights;
  }

  apply(gradient: Weights): void {
    const { slope, intercept } = this.weights;
    this.weights = { slope: slope - this.rate * gradient.slope, intercept: intercept - this.rate * gradient.intercept };
  }
}

type Server = shoal.ActorHandle<ParameterServer>;

/** Works through its share of the points, which all workers read from the same memory. */
const train = shoal.remote(
  async (server: Server, xs: Float64Array, ys: Float64Array, part: number, parts: number, steps: number) => {
    const from = Math.floor((xs.length * part) / parts);
    const to = Math.floor((xs.length * (part + 1)) / parts);
    for (let step = 0; step < steps; step++) {
      const { slope, intercept } = await shoal.get(server.read.remote());
      const gradient = { slope: 0, intercept: 0 };
      for (let i = from; i < to; i++) {
        const x = xs[i] as number;
        const error = slope * x + intercept - (ys[i] as number);
        gradient.slope += (2 * error * x) / (to - from);
        gradient.intercept += (2 * error) / (to - from);
      }
      server.apply.remote(gradient);
    }
  },
);

await using _ = await shoal.init();

const xs = Float64Array.from({ length: 200_000 }, () => Math.random() * 4 - 2);
const ys = xs.map((x) => 3 * x + 2 + Math.random() - 0.5);
const [xsRef, ysRef] = [shoal.put(xs), shoal.put(ys)];

const server = shoal.remote(ParameterServer).remote(0.02);
const parts = 4;
await shoal.get(Array.from({ length: parts }, (_unused, part) => train.remote(server, xsRef, ysRef, part, parts, 100)));

const { slope, intercept } = await shoal.get(server.read.remote());
console.log(`y = ${slope.toFixed(2)} x + ${intercept.toFixed(2)}`);
