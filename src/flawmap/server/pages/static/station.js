/** Keeps the first page up to date: events say that something happened, the server draws it. */
"use strict";

const latest = document.querySelector("#latest");
const offline = document.querySelector("#offline");
const said = document.querySelector("#said");
const KINDS = ["received", "judged", "skipped"].map((kind) => `inspection.${kind}`);
KINDS.push("station.halted", "station.released", "inspector.activated", "clock.jumped");
const AT_MOST_EVERY_MS = 400;
const AT_LEAST_EVERY_MS = 5000;
let drawn = 0;
let timer;

/** Put what the server draws in place of what is there; the focus stays where it was. */
async function draw() {
  timer = undefined;
  drawn = Date.now();
  try {
    const answer = await fetch("/latest", { cache: "no-store" });
    if (answer.redirected) {
      location.reload();
      return;
    }
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

/** Draw soon, but not for each of many events. */
function soon() {
  timer ??= setTimeout(draw, Math.max(0, drawn + AT_MOST_EVERY_MS - Date.now()));
}

if (latest) {
  document.documentElement.classList.add("js");
  const events = new EventSource(`/api/v1/events?after=${latest.querySelector("[data-seq]").dataset.seq}`);
  for (const kind of KINDS) events.addEventListener(kind, soon);
  events.addEventListener("error", soon);
  // A state may change without an event, as where the disk is full.
  setInterval(soon, AT_LEAST_EVERY_MS);
}
