// node examples/ten-lines.mjs
import * as shoal from "shoal"; // Ray users write: import * as ray from "shoal"

const square = shoal.remote((x) => x * x);
await shoal.init();
console.log(await shoal.get([0, 1, 2, 3].map((i) => square.remote(i)))); // [ 0, 1, 4, 9 ]
