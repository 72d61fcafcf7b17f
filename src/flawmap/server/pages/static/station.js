/** Keeps the first page up to date: events say that something happened, the server draws it. */
const latest = document.querySelector("#latest");
const offline = document.querySelector("#offline");
const said = document.querySelector("#said");
const KINDS = ["received", "judged", "skipped"].map((kind) => `inspection.${kind}`);
KINDS.push("station.halted", "station.released", "inspector.activated", "clock.jumped");
const AT_MOST_EVERY_MS = 400;
const AT_LEAST_EVERY_MS = 5000;
const PATIENCE_MS = 5000;
let isAsked = false;
let isBusy = false;

/** Put what the server draws in place of what is there; the focus stays where it was. */
async function draw() {
  try {
    const answer = await fetch("/latest", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.redirected) return location.reload();
    if (!answer.ok) throw new Error(answer.statusText);
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = parsed.querySelector("[data-said]").dataset.said;
    const before = latest.querySelector("[data-said]").dataset.said;
    const focused = document.activeElement?.id;
    const cards = new Map([...latest.querySelectorAll(".card a")].map((card) => [card.id, card]));
    latest.replaceChildren(...parsed.body.children);
    for (const card of latest.querySelectorAll(".card a")) {
      // One that is the same stays, so that its image does not flicker.
      if (cards.get(card.id)?.isEqualNode(card)) card.replaceWith(cards.get(card.id));
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (now !== before) said.textContent = now;
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
}

/** Draw one after the other, and not for each of many events. */
async function soon() {
  isAsked = true;
  if (isBusy) return;
  isBusy = true;
  while (isAsked) {
    isAsked = false;
    await draw();
    await new Promise((done) => setTimeout(done, AT_MOST_EVERY_MS));
  }
  isBusy = false;
}

if (latest) {
  document.documentElement.classList.add("js");
  const { seq } = latest.querySelector("[data-seq]").dataset;
  const events = new EventSource(`/api/v1/events?after=${seq}`);
  for (const kind of KINDS) events.addEventListener(kind, soon);
  events.addEventListener("error", soon);
  // A state may change without an event, as where the disk is full.
  setInterval(soon, AT_LEAST_EVERY_MS);
}
