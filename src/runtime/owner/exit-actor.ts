/** Thrown by `exitActor()` through the user's method to the worker, which then ends. Not an error of the user's. */
export class ExitActor extends Error {
  override readonly name = "ExitActor";
}
