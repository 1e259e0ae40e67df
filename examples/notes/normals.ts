/** Normal random numbers, and what statistics asks of them first. */

/**
 * `count` standard normals by Marsaglia's polar method (https://en.wikipedia.org/wiki/Marsaglia_polar_method) over the generator
 * xoshiro128** (https://prng.di.unimi.it). The same seed gives the same numbers.
 */
export function standardNormals(count: number, seed: number): Float64Array {
  const values = new Float64Array(count);
  const next = xoshiro128(seed);
  const toUnit = 2 ** -31; // of a signed 32-bit number: from -1 to 1
  for (let i = 0; i < count; i += 2) {
    let x = 0;
    let y = 0;
    let squared = 0;
    do {
      x = next() * toUnit;
      y = next() * toUnit;
      squared = x * x + y * y;
    } while (squared >= 1 || squared === 0);
    const factor = Math.sqrt((-2 * Math.log(squared)) / squared);
    values[i] = x * factor;
    values[i + 1] = y * factor; // of an odd count the last one falls off the end
  }
  return values;
}

/** Signed 32-bit random numbers. */
function xoshiro128(seed: number): () => number {
  let [a, b, c, d] = [seed | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 0xb7e15162 | 0];
  const next = (): number => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  // The first numbers of similar seeds are similar.
  for (let i = 0; i < 20; i++) next();
  return next;
}

/** Mean and standard deviation (of the population), in two passes for the sake of precision. */
export function meanAndSd(data: Float64Array): [mean: number, sd: number] {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i] as number;
  const mean = sum / data.length;
  let squares = 0;
  for (let i = 0; i < data.length; i++) squares += ((data[i] as number) - mean) ** 2;
  return [mean, Math.sqrt(squares / data.length)];
}
