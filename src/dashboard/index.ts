/**
 * The dashboard: a page and its data over HTTP, served by the head's daemon. It only reads.
 *
 * Everything needs the key (access.ts); other origins get nothing, as no answer says that they may read it and the page's policy lets it load from
 * here alone. Loaded when it is wanted, and only then: see ../runtime/daemon/dashboard.ts.
 */
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { createAdaptorServer } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { traceEvent } from "../api/trace-event.ts";
import { cookieOf, dashboardKey, isOwnHost, sameSecret } from "./access.ts";
import { BadQuestion, createAnswers, type Identity, timelineOf } from "./answers.ts";
import type { Ask } from "./source.ts";

export interface DashboardOptions {
  readonly host: string;
  /** Null: 8265 or the next free one. 0: any free one. */
  readonly port: number | null;
  readonly token: string;
  readonly ask: Ask;
  readonly identity: () => Identity;
  /** Told of failures that are ours. */
  readonly log: (line: string) => void;
}

export interface RunningDashboard {
  /** With the key. */
  readonly url: string;
  close(): Promise<void>;
}

/** Ray's. */
const defaultPort = 8265;
/** Ports tried from the default on. */
const portsTried = 100;
/** Connections at a time; a browser opens six. More are refused. */
const connectionsMax = 128;
/** Milliseconds a client has to send its request. */
const requestMs = 10_000;

const noKey =
  "Cannot show the dashboard without its token: open the whole address that `shoal start --head` printed or that dashboardUrl says.\n";

const headers: Readonly<Record<string, string>> = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cache-Control": "no-store",
};

/** Resolves when it listens. Rejects when the port asked for is taken. */
export async function startDashboard(options: DashboardOptions): Promise<RunningDashboard> {
  const key = dashboardKey(options.token);
  const server = createAdaptorServer({ fetch: appOf(options, key).fetch }) as Server;
  server.maxConnections = connectionsMax;
  server.requestTimeout = requestMs;
  server.headersTimeout = requestMs;
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  const everywhere = options.host === "0.0.0.0" || options.host === "::";
  const host = everywhere ? "127.0.0.1" : options.host;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}/?token=${key}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listen(server: Server, { host, port }: DashboardOptions): Promise<void> {
  const first = port ?? defaultPort;
  const last = port === null ? first + portsTried - 1 : first;
  for (let each = first; ; each++) {
    const code = await tryListen(server, host, each);
    if (code === null) return;
    if (code === "EADDRINUSE" && each < last) continue;
    const place = `${host}:${port === null ? `${first}-${last}` : first}`;
    if (code !== "EADDRINUSE") throw new Error(`Cannot listen for the dashboard at ${place}: ${code}`);
    throw new Error(
      `Cannot listen for the dashboard at ${place} as the port is taken: name another one, or 0 for any that is free`,
    );
  }
}

/** Null, or why not. */
function tryListen(server: Server, host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      resolve(null);
    });
  });
}

function appOf({ host, token, ask, identity, log }: DashboardOptions, key: string): Hono {
  const answers = createAnswers(ask, identity);
  const app = new Hono();
  app.use(async (context, next) => {
    for (const [name, value] of Object.entries(headers)) context.header(name, value);
    if (!isOwnHost(context.req.header("host"), host))
      return context.text("Cannot serve this host name: use localhost or an IP address in its place.\n", 403);
    if (context.req.method !== "GET") {
      context.header("Allow", "GET");
      return context.text("Cannot do anything but GET here: the dashboard only reads.\n", 405);
    }
    const allowed = (given: string | null | undefined): boolean =>
      given != null && (sameSecret(given, key) || sameSecret(given, token));
    const asked = context.req.query("token");
    if (asked !== undefined) {
      if (!allowed(asked)) return refused(context);
      context.header("Set-Cookie", `${cookieName(context)}=${key}; HttpOnly; SameSite=Strict; Path=/`);
      return context.redirect(context.req.path.replace(/^\/+/, "/"), 303);
    }
    const bearer = /^Bearer (\S+)$/i.exec(context.req.header("authorization") ?? "")?.[1];
    if (!allowed(bearer) && !allowed(cookieOf(context.req.header("cookie"), cookieName(context)))) return refused(context);
    await next();
  });
  for (const [path, { type, bytes }] of pageFiles())
    app.get(path, (context) => context.body(bytes, 200, { "Content-Type": type }));
  for (const [name, answer] of Object.entries(answers))
    app.get(`/api/${name}`, async (context) => context.json((await answer((field) => context.req.query(field))) as object));
  app.get("/api/timeline", async (context) => {
    context.header("Content-Disposition", 'attachment; filename="shoal-timeline.json"');
    return context.json((await timelineOf(ask)).map(traceEvent));
  });
  app.notFound((context) => context.text("Cannot find that here.\n", 404));
  app.onError((error, context) => {
    for (const [name, value] of Object.entries(headers)) context.header(name, value);
    if (error instanceof BadQuestion) return context.json({ error: error.message }, 400);
    log(`dashboard: ${error.stack ?? error.message}`);
    return context.json({ error: error.message }, 500);
  });
  return app;
}

function refused(context: Context): Response {
  context.header("WWW-Authenticate", "Bearer");
  return context.text(noKey, 401);
}

/** Cookies do not know ports: two dashboards of one machine must not take each other's. */
const cookieName = (context: Context): string => `shoal-${/:(\d+)$/.exec(context.req.header("host") ?? "")?.[1] ?? "80"}`;

/** The page, as tools/build.mjs has put it beside the built files. */
function pageFiles(): [path: string, file: { readonly type: string; readonly bytes: string }][] {
  const here = new URL(".", import.meta.url);
  const dist = here.pathname.endsWith("/chunks/") ? new URL("..", here) : here;
  const file = (name: string, type: string) => ({
    type: `${type}; charset=utf-8`,
    bytes: readFileSync(fileURLToPath(new URL(`dashboard-page/${name}`, dist)), "utf8"),
  });
  return [
    ["/", file("index.html", "text/html")],
    ["/page.js", file("page.js", "text/javascript")],
    ["/page.css", file("page.css", "text/css")],
  ];
}
