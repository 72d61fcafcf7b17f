// The page's data, and what all other modules need: scores, formatting, tick marks, elements.

/**
 * A connected area where the heat map exceeds the limit of good parts.
 * @typedef {object} Region
 * @property {number} x Left edge of its box, in pixels from the image's left edge.
 * @property {number} y Upper edge of its box, in pixels from the image's upper edge.
 * @property {number} width Of its box, in pixels.
 * @property {number} height Of its box, in pixels.
 * @property {number} area In pixels.
 * @property {number} peak Highest heat map value in it; 1 is the limit of good parts.
 */

/**
 * One image of the gallery: some fields of its record, by the names that they have there.
 * @typedef {object} Card
 * @property {string} image Its path.
 * @property {number} image_width In pixels.
 * @property {number} image_height In pixels.
 * @property {string | null} defect_type "good", a defect type, or null where the truth is not known.
 * @property {number} score
 * @property {number} p_value 0…1.
 * @property {number} region_count Number of its regions, of which `regions` may hold the first only.
 * @property {Region[]} regions The most anomalous first.
 */

/**
 * @typedef {object} PageData
 * @property {number} threshold The saved threshold: a part is rejected when its score exceeds it.
 * @property {number[]} calibrationScores Scores of the good images that it was calibrated on, ascending.
 * @property {[string | null, number][]} scores Truth (as in `Card.defect_type`) and score of each image.
 * @property {Record<string, string>} labels What the page calls each outcome.
 * @property {Card[]} cards The images of the gallery, the worst first.
 */

document.documentElement.classList.add("js");

// ---- elements ----

/**
 * The element of this id, which has to be of this class.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byIdAs(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`There is no ${type.name} with the id ${id}.`);
  return element;
}

/**
 * The HTML element of this id, which has to be there.
 * @param {string} id
 */
export const byId = (id) => byIdAs(id, HTMLElement);

/**
 * All HTML elements that match a selector, in the order of the document.
 * @param {string} selector
 * @param {ParentNode} parent Where to look.
 * @returns {HTMLElement[]}
 */
export const queryAll = (selector, parent = document) =>
  [...parent.querySelectorAll(selector)].filter((element) => element instanceof HTMLElement);

/**
 * Shows a text in the element of this id; the page has not every element for every report.
 * @param {string} id
 * @param {string} text
 */
export function setText(id, text) {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
}

/**
 * Sets attributes, appends children and returns the element.
 * @template {Element} T
 * @param {T} element
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 * @returns {T}
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * A new SVG element.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 */
export function svgElement(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/**
 * A new HTML element.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 */
export function htmlElement(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// ---- scores ----

/** @type {PageData} */
export const data = JSON.parse(byId("data").textContent);

/**
 * The scores of the images whose truth is asked for, ascending.
 * @param {(defectType: string | null) => boolean} matches "good", a defect type, or null for an
 *   image whose truth is not known.
 */
export function scoresWhere(matches) {
  const matching = data.scores.filter(([defectType]) => matches(defectType));
  return matching.map(([, score]) => score).sort((a, b) => a - b);
}

export const goodScores = scoresWhere((defectType) => defectType === "good");
export const defectiveScores = scoresWhere(
  (defectType) => defectType !== null && defectType !== "good",
);
export const unlabelledScores = scoresWhere((defectType) => defectType === null);
export const calibrationScores = data.calibrationScores;
export const isLabelled = goodScores.length + defectiveScores.length > 0;

/**
 * How many values exceed the threshold.
 * @param {number[]} values Ascending.
 * @param {number} threshold
 */
export function countAbove(values, threshold) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > threshold) high = middle;
    else low = middle + 1;
  }
  return values.length - low;
}

/**
 * The next number of the series 1, 2, 5, 10, … that is not below a step.
 * @param {number} minStep Above 0.
 */
export function niceStep(minStep) {
  const power = 10 ** Math.floor(Math.log10(minStep));
  const factor = [1, 2, 5].find((candidate) => candidate * power >= minStep * (1 - 1e-9)) ?? 10;
  return power * factor;
}

/**
 * Rounds to a multiple of a step, without the digits that binary fractions add.
 * @param {number} value
 * @param {number} step
 */
const roundTo = (value, step) => Number((Math.round(value / step) * step).toPrecision(12));

/**
 * The scores that the page spans: whole steps, so that the slider's values are round.
 * @returns {{ low: number, high: number, step: number }} All in units of the score.
 */
function findScoreRange() {
  let low = data.threshold;
  let high = data.threshold;
  for (const values of [calibrationScores, goodScores, defectiveScores, unlabelledScores]) {
    for (const value of values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  const width = high - low || Math.abs(high) * 0.2 || 1;
  const step = niceStep(width / 800);
  return {
    low: roundTo(low - width * 0.02 - step / 2, step),
    high: roundTo(high + width * 0.02 + step / 2, step),
    step,
  };
}

export const scoreRange = findScoreRange();

/**
 * Where a score lies on the page's span: 0 at its left end, 1 at its right end.
 * @param {number} score
 */
export const scoreFraction = (score) =>
  (score - scoreRange.low) / (scoreRange.high - scoreRange.low);

/**
 * The score of the page's span that is nearest to a score.
 * @param {number} score
 */
export const clampToRange = (score) => Math.max(scoreRange.low, Math.min(scoreRange.high, score));

/**
 * Round values for the marks of an axis, ascending.
 * @param {number} low First value of the axis.
 * @param {number} high Last value of the axis.
 * @param {number} maxCount About so many marks at most.
 */
export function tickValues(low, high, maxCount) {
  const step = niceStep((high - low) / maxCount);
  const values = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) {
    values.push(Number((n * step).toPrecision(12)));
  }
  return values;
}

// ---- formatting ----

/**
 * A number for the screen; a dash for none.
 * @param {number | null} value
 * @param {number} digits Significant digits.
 */
export function formatNumber(value, digits = 4) {
  if (value === null || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1e4 ? value.toFixed(0) : String(Number(value.toPrecision(digits)));
}

/**
 * A count with separated thousands.
 * @param {number} count
 */
export const formatCount = (count) => count.toLocaleString("en-US");

/**
 * A part of a total in percent; a dash where the total is 0.
 * @param {number} part
 * @param {number} total
 * @param {number} decimals
 */
export const formatPercent = (part, total, decimals = 1) =>
  total ? `${((100 * part) / total).toFixed(decimals)} %` : "–";

/**
 * A part of a total per thousand, as a plain number; a dash where the total is 0.
 * @param {number} part
 * @param {number} total
 */
export const formatPerThousand = (part, total) =>
  total ? ((1000 * part) / total).toFixed(1) : "–";
