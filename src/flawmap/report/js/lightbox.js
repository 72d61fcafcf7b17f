// The large view of one image: its renderings, its facts and its regions.

import { cardElements, cardOf, focusCard, setBadge, shownCards } from "./gallery.js";
import { threshold } from "./histogram.js";
import {
  byId,
  byIdAs,
  formatCount,
  formatNumber,
  htmlElement,
  queryAll,
  setText,
  svgElement,
} from "./numbers.js";

/** @typedef {import("./numbers.js").Card} Card */
/** @typedef {import("./numbers.js").Region} Region */

/**
 * Element of the card that is open, or was open last.
 * @type {HTMLElement | null}
 */
let openedCard = null;

/**
 * Opens the large view of a card, or shows it in the view that is open already.
 * @param {HTMLElement} element Of the card.
 */
function openCard(element) {
  openedCard = element;
  const card = cardOf(element);
  const index = shownCards.indexOf(element);
  const images = queryAll("img", element).filter((image) => image instanceof HTMLImageElement);
  setText("lightbox-path", card.image);
  setBadge(byId("lightbox-badge"), element.dataset.verdict ?? "");
  setText("lightbox-place", `${formatCount(index + 1)} of ${formatCount(shownCards.length)}`);
  byId("lightbox-images").replaceChildren(...images.map((image) => imageFigure(image, card)));
  byId("lightbox-facts").replaceChildren(...factElements(card));
  byId("lightbox-regions").replaceChildren(regionTable(card));
  // Not "disabled": a disabled button drops the focus, and the keys with it.
  byId("previous").setAttribute("aria-disabled", String(index <= 0));
  byId("next").setAttribute("aria-disabled", String(index >= shownCards.length - 1));
  const dialog = byIdAs("lightbox", HTMLDialogElement);
  if (!dialog.open) dialog.showModal();
}

/**
 * One rendering of an image, with an empty layer over it for the box of a region.
 * @param {HTMLImageElement} thumbnail
 * @param {Card} card
 */
function imageFigure(thumbnail, { image_width, image_height }) {
  const size = { viewBox: `0 0 ${image_width} ${image_height}`, preserveAspectRatio: "none" };
  const frame = htmlElement(
    "div",
    { class: "frame" },
    htmlElement("img", { src: thumbnail.src, alt: thumbnail.alt }),
    svgElement("svg", { ...size, "aria-hidden": "true" }),
  );
  const ratio = image_width / image_height;
  frame.style.width = `min(100%, ${(56 * ratio).toFixed(2)}vh)`;
  frame.style.aspectRatio = String(ratio);
  return htmlElement("figure", {}, htmlElement("figcaption", {}, thumbnail.alt), frame);
}

/** @param {Card} card */
function factElements(card) {
  /** @type {[string, string][]} */
  const facts = [
    ["score", formatNumber(card.score)],
    ["threshold", formatNumber(threshold)],
    ["p-value", formatNumber(card.p_value, 2)],
    ["defect type", card.defect_type ?? "not known"],
    ["size", `${card.image_width} × ${card.image_height} px`],
  ];
  return facts.map(([name, value]) =>
    htmlElement("div", {}, htmlElement("dt", {}, name), htmlElement("dd", {}, value)),
  );
}

/** @param {Card} card */
function regionTable({ region_count, regions }) {
  if (!region_count) {
    const text = "Nothing exceeds the limit of good parts.";
    return htmlElement("p", { class: "muted" }, text);
  }
  const headings = ["#", "x", "y", "w × h", "area, px", "peak, × limit"];
  const cells = headings.map((name) => htmlElement("th", { scope: "col" }, name));
  const more =
    region_count > regions.length
      ? `, the first ${regions.length} of ${formatCount(region_count)}`
      : "";
  const caption =
    `Regions beyond the limit of good parts, the most anomalous first${more}; ` +
    "point at one to see where it is";
  return htmlElement(
    "table",
    {},
    htmlElement("caption", {}, caption),
    htmlElement("thead", {}, htmlElement("tr", {}, ...cells)),
    htmlElement("tbody", {}, ...regions.map(regionRow)),
  );
}

/**
 * A row of the table; pointing at it outlines the region in the images.
 * @param {Region} region
 * @param {number} index
 */
function regionRow(region, index) {
  const values = [
    String(index + 1),
    String(region.x),
    String(region.y),
    `${region.width} × ${region.height}`,
    formatCount(region.area),
    region.peak.toFixed(2),
  ];
  const cells = values.map((value) => htmlElement("td", {}, value));
  const row = htmlElement("tr", { tabindex: 0 }, ...cells);
  for (const type of ["pointerenter", "focus"]) {
    row.addEventListener(type, () => outlineRegion(region));
  }
  for (const type of ["pointerleave", "blur"]) {
    row.addEventListener(type, () => outlineRegion(null));
  }
  return row;
}

/**
 * Outlines a region in all renderings of the image.
 * @param {Region | null} region Null takes the outline away.
 */
function outlineRegion(region) {
  for (const layer of document.querySelectorAll("#lightbox-images svg")) {
    layer.replaceChildren();
    if (region) {
      const { x, y, width, height } = region;
      layer.append(svgElement("rect", { x, y, width, height }));
    }
  }
}

/** @param {number} steps How many of the shown cards to go forward. */
function openNeighbour(steps) {
  const next = openedCard && shownCards[shownCards.indexOf(openedCard) + steps];
  if (next) openCard(next);
}

// ---- start ----

/** @type {Record<string, number>} */
const STEPS_OF_KEY = { ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1 };

/** @param {KeyboardEvent} event */
function handleLightboxKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!byIdAs("lightbox", HTMLDialogElement).open) return;
  const steps = STEPS_OF_KEY[event.key];
  if (!steps) return;
  event.preventDefault();
  openNeighbour(steps);
}

function setUpLightbox() {
  const dialog = byIdAs("lightbox", HTMLDialogElement);
  for (const element of cardElements) {
    element.addEventListener("click", () => openCard(element));
  }
  byId("previous").addEventListener("click", () => openNeighbour(-1));
  byId("next").addEventListener("click", () => openNeighbour(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    // A click beside the contents is one on the dialog itself.
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    if (openedCard) focusCard(openedCard);
  });
  document.addEventListener("keydown", handleLightboxKey);
}

if (cardElements.length) setUpLightbox();
