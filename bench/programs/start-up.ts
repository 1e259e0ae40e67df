/** A whole program: how long until the first result. Prints one line of JSON. */
const start = performance.now();
const shoal = await import("shoal");
const imported = performance.now();
const square = shoal.remote((x: number) => x * x);
await shoal.init();
await shoal.get(square.remote(3));
const firstResult = performance.now();
await shoal.shutdown();
console.log(JSON.stringify({ importMs: imported - start, firstResultMs: firstResult - imported }));
