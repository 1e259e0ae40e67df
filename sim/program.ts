/**
 * What simulated tasks do. A task is a seed: it submits further tasks, passes refs on as arguments or inside values, waits for some,
 * returns others, computes, or throws. What it must return follows from the seed alone (`expected`), so a wrong value is noticed.
 */
import { Random } from "./random.ts";

export interface TaskSpec {
  readonly seed: number;
  readonly depth: number;
}

/** A value: a number, and refs inside it. */
export interface Result<Ref> {
  readonly value: number;
  readonly refs: readonly Ref[];
}

export type Outcome<Ref> =
  | { readonly kind: "value"; readonly result: Result<Ref> }
  | { readonly kind: "threw" }
  | { readonly kind: "failed"; readonly code: string };

/** What a body asks of the process that runs it. */
export interface Surroundings<Ref> {
  /** `plain`: refs that the task gets the values of. `inside`: refs it gets as refs. */
  submit(spec: TaskSpec, plain: readonly Ref[], inside: readonly Ref[]): Ref;
  put(value: number, inside: readonly Ref[]): Ref;
}

export type Step<Ref> =
  /** Answered by the outcomes, in order. */
  | { readonly kind: "get"; readonly refs: readonly Ref[] }
  | { readonly kind: "work"; readonly ms: number; readonly busy: boolean }
  /** Goes on when `start` calls back. */
  | { readonly kind: "until"; readonly start: (goOn: () => void) => void };

export type Body<Ref> = Generator<Step<Ref>, Result<Ref>, Outcome<Ref>[]>;

/** Thrown by a body on purpose. */
export class Thrown extends Error {}
/** Something the body needed could not be had because of a fault. */
export class Fault extends Error {}

/** Values above this are kept in the object store. */
export const isLarge = (spec: TaskSpec): boolean => spec.seed % 5 === 0;

const mix = (a: number, b: number): number => (Math.imul(a ^ (b + 0x9e3779b9), 0x85ebca6b) >>> 0) % 1_000_003;

export function* taskBody<Ref>(
  spec: TaskSpec,
  plain: readonly Result<Ref>[],
  inside: readonly Ref[],
  around: Surroundings<Ref>,
): Body<Ref> {
  const random = new Random(spec.seed);
  let value = spec.seed % 1000;
  for (const argument of plain) value = mix(value, argument.value);
  const open: Ref[] = [...inside];
  for (const argument of plain) open.push(...argument.refs);
  if (random.chance(0.5)) yield work(random);
  const children = spec.depth === 0 ? 0 : random.int(4);
  for (let i = 0; i < children; i++) {
    const child: TaskSpec = { seed: random.int(1_000_000), depth: random.int(spec.depth) };
    const passed = open.length > 0 && random.chance(0.3) ? [random.pick(open)] : [];
    const lent = open.length > 0 && random.chance(0.3) ? [random.pick(open)] : [];
    open.push(random.chance(0.15) ? around.put(child.seed % 777, lent) : around.submit(child, passed, lent));
    if (random.chance(0.3)) yield work(random);
  }
  if (random.chance(0.05)) throw new Thrown("on purpose");
  const wanted = open.filter(() => random.chance(0.6));
  if (wanted.length > 0) {
    for (const outcome of yield { kind: "get", refs: wanted }) {
      if (outcome.kind === "failed") throw new Fault(outcome.code);
      value = mix(value, outcome.kind === "threw" ? 13 : outcome.result.value);
    }
  }
  if (random.chance(0.3)) yield work(random);
  return { value, refs: open.filter(() => random.chance(0.2)) };
}

function work(random: Random): { kind: "work"; ms: number; busy: boolean } {
  const ms = random.chance(0.5) ? random.next() : random.chance(0.9) ? random.next() * 20 : random.next() * 300;
  return { kind: "work", ms, busy: random.chance(0.3) };
}

// ---------------------------------------------------------------- what must come out

/** A ref in the world without processes: what it stands for. */
export interface PureRef {
  readonly outcome: Outcome<PureRef>;
}

/** The outcome of the task where nothing fails. */
export function expected(spec: TaskSpec, plain: readonly PureRef[], inside: readonly PureRef[]): PureRef {
  for (const argument of plain) if (argument.outcome.kind !== "value") return { outcome: argument.outcome };
  const values = plain.map((argument) => (argument.outcome as { result: Result<PureRef> }).result);
  const body = taskBody(spec, values, inside, pure);
  try {
    let step = body.next();
    while (!step.done) step = body.next(step.value.kind === "get" ? step.value.refs.map((ref) => ref.outcome) : []);
    return { outcome: { kind: "value", result: step.value } };
  } catch (error) {
    if (!(error instanceof Thrown)) throw error;
    return { outcome: { kind: "threw" } };
  }
}

export const pure: Surroundings<PureRef> = {
  submit: (spec, plain, inside) => expected(spec, plain, inside),
  put: (value, refs) => ({ outcome: { kind: "value", result: { value, refs } } }),
};
