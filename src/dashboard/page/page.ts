/** The dashboard's page: draws the view that its address names, anew every two seconds while somebody looks. */
import { element } from "./elements.ts";
import { views } from "./views.ts";

const refreshMs = 2_000;
/** Milliseconds the head has for an answer. */
const answerMs = 15_000;

const place = document.getElementById("view") as HTMLElement;
const notice = document.getElementById("notice") as HTMLElement;
const links = document.getElementById("views") as HTMLElement;
let timer: number | undefined;
/** Counts drawings: one that has been overtaken is not shown. */
let drawing = 0;
let lostSince: Date | null = null;

class Refused extends Error {}

async function answerOf(path: string): Promise<any> {
  const response = await fetch(`/api/${path}`, { signal: AbortSignal.timeout(answerMs), cache: "no-store" });
  if (response.status === 401 || response.status === 403) throw new Refused(await response.text());
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Refused(answer.error ?? `The head answered ${response.status}`));
}

async function draw(): Promise<void> {
  clearTimeout(timer);
  const own = ++drawing;
  const [name, query] = location.hash.slice(1).split("?");
  const current = Object.hasOwn(views, name) ? name : "overview";
  for (const link of links.children)
    if (link.getAttribute("href") === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  try {
    const nodes = await views[current].draw(answerOf, new URLSearchParams(query ?? ""));
    if (own !== drawing) return;
    show(nodes, current);
    say(null);
  } catch (error) {
    if (own !== drawing) return;
    if (error instanceof Refused) say(error.message);
    else {
      lostSince ??= new Date();
      say(`The head has not answered since ${lostSince.toLocaleTimeString()}. What is shown is as it was then; trying again.`);
    }
  }
  if (!document.hidden) timer = setTimeout(draw, refreshMs);
}

/** Puts the new in the place of the old, without moving what the reader looks at: focus, scrolled tables, a selection. */
function show(nodes: readonly Node[], name: string): void {
  if (
    place.dataset.view === name &&
    place.contains(document.getSelection()?.anchorNode ?? null) &&
    !document.getSelection()?.isCollapsed
  )
    return; // somebody copies an id
  const regions = () => [...place.querySelectorAll<HTMLElement>(".scroll, pre")];
  const before = regions().map(({ scrollLeft, scrollTop }) => ({ scrollLeft, scrollTop }));
  const focusable = () => [...place.querySelectorAll<HTMLElement>("a, button, [tabindex]")];
  const focused = focusable().indexOf(document.activeElement as HTMLElement);
  const same = place.dataset.view === name;
  place.replaceChildren(...nodes);
  place.dataset.view = name;
  document.title = `${views[name].title} - Shoal`;
  if (!same) return;
  regions().forEach((region, index) => Object.assign(region, before[index]));
  if (focused >= 0) focusable()[focused]?.focus({ preventScroll: true });
}

function say(text: string | null): void {
  if (text === null) lostSince = null;
  notice.hidden = text === null;
  if (notice.textContent !== (text ?? "")) notice.textContent = text ?? "";
}

for (const [name, { title }] of Object.entries(views)) links.append(element("a", { href: `#${name}` }, title));
addEventListener("hashchange", () => {
  document.getSelection()?.removeAllRanges();
  void draw();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) void draw();
});
void draw();
