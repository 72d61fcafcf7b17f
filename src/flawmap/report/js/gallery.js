// The gallery: a card for each image, with filters, orders and keys.

import { addView, threshold } from "./histogram.js";
import { byId, byIdAs, data, formatCount, queryAll, setText } from "./numbers.js";

/** @typedef {import("./numbers.js").Card} Card */

/** The elements of all cards, in the chosen order. */
export const cardElements = queryAll(".card");

/** The elements of the cards that the filters show, in the chosen order. */
export let shownCards = cardElements;

const filters = { outcome: "all", defectType: "", search: "" };

/**
 * What the page knows of a card's image.
 * @param {HTMLElement} element Of the card.
 */
export const cardOf = (element) => data.cards[Number(element.dataset.index)];

/**
 * What comes of an image, as the page's data name it.
 * @param {Card} card
 * @param {number} threshold In units of the score.
 */
function outcomeOf(card, threshold) {
  const isRejected = card.score > threshold;
  if (card.defect_type === null) return isRejected ? "reject" : "good";
  if (card.defect_type === "good") return isRejected ? "false-reject" : "accepted";
  return isRejected ? "detected" : "missed";
}

/**
 * Shows an outcome in a badge.
 * @param {Element} badge
 * @param {string} outcome
 */
export function setBadge(badge, outcome) {
  badge.className = `badge ${outcome}`;
  badge.textContent = data.labels[outcome];
}

// ---- filters ----

/** @param {HTMLElement} element Of the card. */
function updateOutcome(element) {
  const outcome = outcomeOf(cardOf(element), threshold);
  if (element.dataset.verdict !== outcome) {
    element.dataset.verdict = outcome;
    for (const badge of queryAll(".badge", element)) setBadge(badge, outcome);
  }
  return outcome;
}

/** @param {Card} card */
function matchesFilters(card) {
  const isOfType = !filters.defectType || card.defect_type === filters.defectType;
  return isOfType && card.image.toLowerCase().includes(filters.search);
}

/** Shows the cards that the filters leave at the present threshold, and their numbers. */
function updateGallery() {
  /** @type {Record<string, number>} */
  const counts = { all: 0 };
  shownCards = cardElements.filter((element) => {
    const outcome = updateOutcome(element);
    const isMatch = matchesFilters(cardOf(element));
    if (isMatch) {
      counts.all += 1;
      counts[outcome] = (counts[outcome] ?? 0) + 1;
    }
    const isShown = isMatch && ["all", outcome].includes(filters.outcome);
    listItemOf(element).hidden = !isShown;
    return isShown;
  });
  for (const button of queryAll("[data-outcome]")) {
    const outcome = button.dataset.outcome ?? "all";
    for (const count of queryAll("b", button))
      count.textContent = formatCount(counts[outcome] ?? 0);
    button.setAttribute("aria-pressed", String(outcome === filters.outcome));
  }
  const total = formatCount(cardElements.length);
  const isAll = shownCards.length === cardElements.length;
  setText("shown", `${isAll ? total : `${formatCount(shownCards.length)} of ${total}`} shown`);
  byId("nothing").hidden = shownCards.length > 0;
  if (!shownCards.some((element) => element.tabIndex === 0)) setRovingFocus(shownCards[0]);
}

/**
 * @param {HTMLElement} element Of the card.
 * @returns {HTMLElement}
 */
const listItemOf = (element) => element.closest("li") ?? element;

/**
 * Brings a card into view and gives it the focus.
 * @param {HTMLElement} element Of the card.
 */
export function focusCard(element) {
  element.focus();
  listItemOf(element).scrollIntoView({ block: "nearest" });
}

/**
 * Makes one card the one that the tab key reaches; arrows lead to the others.
 * @param {HTMLElement | undefined} current Of the card.
 */
function setRovingFocus(current) {
  for (const element of cardElements) element.tabIndex = element === current ? 0 : -1;
}

// ---- order ----

/** @param {HTMLElement} element Of the card. */
const rankOf = (element) => Number(element.dataset.index);

/** @param {HTMLElement} element Of the card. */
const scoreOf = (element) => cardOf(element).score;

/** @type {Record<string, (a: HTMLElement, b: HTMLElement) => number>} */
const comparisons = {
  worst: (a, b) => rankOf(a) - rankOf(b),
  score: (a, b) => scoreOf(b) - scoreOf(a) || rankOf(a) - rankOf(b),
  path: (a, b) => cardOf(a).image.localeCompare(cardOf(b).image, undefined, { numeric: true }),
};

/** @param {string} order A key of `comparisons`. */
function sortCards(order) {
  cardElements.sort(comparisons[order]);
  document.querySelector(".cards")?.append(...cardElements.map(listItemOf));
  updateGallery();
}

// ---- start ----

/** @param {Partial<typeof filters>} changes */
function setFilters(changes) {
  Object.assign(filters, changes);
  updateGallery();
}

function setUpFilters() {
  const search = byIdAs("search", HTMLInputElement);
  const sort = byIdAs("sort", HTMLSelectElement);
  // Only a report with labels has it.
  const defectType = document.getElementById("defect-type-filter");
  for (const button of queryAll("[data-outcome]")) {
    button.addEventListener("click", () => setFilters({ outcome: button.dataset.outcome }));
  }
  search.addEventListener("input", () => setFilters({ search: search.value.toLowerCase() }));
  sort.addEventListener("change", () => sortCards(sort.value));
  if (defectType instanceof HTMLSelectElement) {
    defectType.addEventListener("change", () => setFilters({ defectType: defectType.value }));
  }
  byId("clear").addEventListener("click", () => {
    search.value = "";
    if (defectType instanceof HTMLSelectElement) defectType.value = "";
    setFilters({ outcome: "all", defectType: "", search: "" });
  });
}

/** How many cards stand in the first row. */
function countColumns() {
  const top = listItemOf(shownCards[0]).offsetTop;
  return shownCards.filter((element) => listItemOf(element).offsetTop === top).length;
}

/**
 * How many cards a key goes forward; 0 for another key.
 * @param {string} key
 * @param {boolean} isOnCard Whether a card has the focus, so that the arrows are its.
 */
function cardSteps(key, isOnCard) {
  if (key === "j") return 1;
  if (key === "k") return -1;
  if (!isOnCard) return 0;
  if (key === "ArrowRight") return 1;
  if (key === "ArrowLeft") return -1;
  if (key === "ArrowDown") return countColumns();
  return key === "ArrowUp" ? -countColumns() : 0;
}

/** @param {KeyboardEvent} event */
function handleGalleryKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (byIdAs("lightbox", HTMLDialogElement).open) return;
  const focused = document.activeElement;
  if (!(focused instanceof HTMLElement) || focused.matches("input, select, textarea")) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("search").focus();
    return;
  }
  const index = shownCards.indexOf(focused);
  const steps = shownCards.length ? cardSteps(event.key, index >= 0) : 0;
  if (!steps) return;
  event.preventDefault();
  const first = shownCards.find((element) => element.tabIndex === 0) ?? shownCards[0];
  const next = index < 0 ? first : shownCards[index + steps];
  if (next) focusCard(next);
}

if (cardElements.length) {
  setUpFilters();
  for (const element of cardElements) {
    element.addEventListener("focus", () => setRovingFocus(element));
  }
  document.addEventListener("keydown", handleGalleryKey);
  addView(() => updateGallery);
}
