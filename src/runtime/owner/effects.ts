/** Carrying out the effects of a machine, which may step it again and add to them. */

/** Empties `effects`. What throws ends it there: what is done is not done again the next time, which would hide the error behind another. */
export function carryOutAll<Effect>(effects: Effect[], carryOut: (effect: Effect) => void): void {
  let done = 0;
  try {
    while (done < effects.length) carryOut(effects[done++]);
  } finally {
    if (done === effects.length) effects.length = 0;
    else effects.splice(0, done);
  }
}
