/** How a command ends when it does not succeed. */

/** The command was used wrongly: exit code 2, and no stack. */
export class UsageError extends Error {}

/** Something could not be done: exit code `exitCode`, and the message alone. */
export class Failure extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
