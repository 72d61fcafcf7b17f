// The threshold on trial: its slider, its read-outs, and the histogram of all scores.

import {
  byId,
  byIdAs,
  calibrationScores,
  clampToRange,
  countAbove,
  data,
  defectiveScores,
  formatCount,
  formatNumber,
  formatPercent,
  formatPerThousand,
  goodScores,
  htmlElement,
  isLabelled,
  queryAll,
  scoreFraction,
  scoreRange,
  scoresWhere,
  setText,
  svgElement,
  tickValues,
  unlabelledScores,
} from "./numbers.js";

/** Room beside a chart for the labels of its axis, in pixels; `--left` and `--right` in the CSS. */
export const MARGIN_LEFT = 44;
export const MARGIN_RIGHT = 12;

// ---- views of the threshold ----

/**
 * Shows a threshold in what was drawn.
 * @typedef {(threshold: number) => void} Update
 */

/** @type {{ draw: () => Update, update: Update }[]} */
const views = [];

/** The threshold on trial, in units of the score. */
export let threshold = data.threshold;

/**
 * Draws something that depends on the threshold, and keeps it up to date.
 * @param {() => Update} draw Draws it for the present width of the window.
 */
export function addView(draw) {
  const view = { draw, update: draw() };
  views.push(view);
  view.update(threshold);
}

function redrawViews() {
  for (const view of views) {
    view.update = view.draw();
    view.update(threshold);
  }
}

/**
 * Puts another threshold on trial: every view and every read-out follows.
 * @param {number} newThreshold In units of the score.
 */
export function setThreshold(newThreshold) {
  threshold = newThreshold;
  showControls(threshold);
  showCounts(threshold);
  showExpected(threshold);
  for (const view of views) view.update(threshold);
}

// ---- histogram ----

/**
 * One group of scores in the histogram.
 * @typedef {object} Series
 * @property {string} style CSS class of its bars.
 * @property {boolean} isUp Whether its bars stand above the line.
 * @property {"above" | "below" | null} wrongSide The side of the threshold where it is in error.
 * @property {number} total Number of its scores.
 * @property {number[][]} bins Its scores bin by bin, ascending.
 */

/**
 * Places of things in the histogram, in pixels of its SVG.
 * @typedef {object} Layout
 * @property {number} width
 * @property {number} height
 * @property {number} left Of the plot.
 * @property {number} right Of the plot.
 * @property {number} top Of the plot.
 * @property {number} bottom Of the plot.
 * @property {number} maxUp Highest bar above the line, as a fraction of its series.
 * @property {number} maxDown Highest bar below the line, as a fraction of its series.
 * @property {(score: number) => number} x
 * @property {(fraction: number) => number} y Below the line for a negative fraction.
 * @property {(index: number) => number} binEdge Left edge of a bin.
 */

/**
 * @param {number[]} scores Ascending.
 * @param {number} binCount
 * @returns {number[][]} The scores bin by bin, each ascending.
 */
function binScores(scores, binCount) {
  /** @type {number[][]} */
  const bins = Array.from({ length: binCount }, () => []);
  for (const score of scores) {
    const index = Math.floor(scoreFraction(score) * binCount);
    bins[Math.min(binCount - 1, Math.max(0, index))].push(score);
  }
  return bins;
}

/**
 * @param {number} binCount
 * @returns {Series[]} Those that have any score.
 */
function makeSeries(binCount) {
  /**
   * @param {string} style
   * @param {number[]} scores
   * @param {Series["wrongSide"]} wrongSide
   */
  const series = (style, scores, wrongSide) => ({
    style,
    isUp: style !== "defective",
    wrongSide,
    total: scores.length,
    bins: binScores(scores, binCount),
  });
  return [
    series("good", goodScores, "above"),
    series("good", unlabelledScores, null),
    series("calibration", calibrationScores, null),
    series("defective", defectiveScores, "below"),
  ].filter(({ total }) => total > 0);
}

/**
 * The highest bars on both sides of the line, as fractions of their series.
 * @param {Series[]} allSeries
 */
function findMaxima(allSeries) {
  const highest = (/** @type {boolean} */ isUp) => {
    const side = allSeries.filter((series) => series.isUp === isUp);
    return Math.max(0, ...side.flatMap(({ bins, total }) => bins.map((bin) => bin.length / total)));
  };
  const up = highest(true);
  const down = highest(false);
  if (!up && !down) return { maxUp: 1, maxDown: 0 };
  if (!up || !down) return { maxUp: up, maxDown: down };
  return { maxUp: Math.max(up, down * 0.3), maxDown: Math.max(down, up * 0.3) };
}

/**
 * @param {number} width Of the chart, in pixels.
 * @param {number} binCount
 * @param {Series[]} allSeries
 * @returns {Layout}
 */
function makeLayout(width, binCount, allSeries) {
  const height = width < 560 ? 260 : 320;
  const left = MARGIN_LEFT;
  const right = width - MARGIN_RIGHT;
  const top = 26;
  const bottom = height - 24;
  const { maxUp, maxDown } = findMaxima(allSeries);
  const unit = (bottom - top) / (maxUp + maxDown);
  return {
    ...{ width, height, left, right, top, bottom, maxUp, maxDown },
    x: (score) => left + scoreFraction(score) * (right - left),
    y: (fraction) => top + (maxUp - fraction) * unit,
    binEdge: (index) => left + (index / binCount) * (right - left),
  };
}

/**
 * The hatching of the scores that the inspector was calibrated on.
 */
function hatchPattern() {
  const stripe = {
    d: "M0 0V5",
    stroke: "currentColor",
    "stroke-opacity": 0.28,
    "stroke-width": 1.5,
  };
  const size = { width: 5, height: 5, patternUnits: "userSpaceOnUse" };
  return svgElement(
    "defs",
    {},
    svgElement(
      "pattern",
      { id: "hatch", ...size, patternTransform: "rotate(45)" },
      svgElement("path", stripe),
    ),
  );
}

/**
 * Grid lines with their percentages, the marks of the scores, and the line between both sides.
 * @param {Layout} layout
 */
function axisElements({ left, right, width, height, maxUp, maxDown, x, y }) {
  const elements = [];
  for (const value of tickValues(-maxDown, maxUp, height / 70)) {
    const label = `${formatNumber(Math.abs(value) * 100, 3)} %`;
    const position = { x: left - 8, y: y(value) + 4, "text-anchor": "end" };
    elements.push(
      svgElement("path", { class: "grid", d: `M${left} ${Math.round(y(value))}H${right}` }),
      svgElement("text", position, label),
    );
  }
  for (const score of tickValues(scoreRange.low, scoreRange.high, width / 90)) {
    const position = { x: x(score), y: height - 4, "text-anchor": "middle" };
    elements.push(svgElement("text", position, formatNumber(score)));
  }
  return elements;
}

/**
 * The outline of a series' bars.
 * @param {Series} series
 * @param {Layout} layout
 * @param {string} style CSS class.
 */
function outlineElement({ bins, total }, { binEdge, y }, style) {
  const steps = bins.map((bin, index) => `V${y(bin.length / total)}H${binEdge(index + 1)}`);
  const path = `M${binEdge(0)} ${y(0)}${steps.join("")}V${y(0)}`;
  return svgElement("path", { class: style, d: path });
}

/**
 * Bars whose tips are the part of a bin that lies on the wrong side of the threshold.
 * @param {Series} series
 * @param {Layout} layout
 * @param {number} threshold
 * @returns {{ right: string, wrong: string }} SVG paths of both parts.
 */
function barPaths({ bins, total, isUp, wrongSide }, { binEdge, y }, threshold) {
  const sign = isUp ? 1 : -1;
  const paths = { right: "", wrong: "" };
  bins.forEach((bin, index) => {
    const above = countAbove(bin, threshold);
    const wrong = wrongSide === "above" ? above : wrongSide === "below" ? bin.length - above : 0;
    const bar = (/** @type {number} */ from, /** @type {number} */ to) => {
      if (from === to) return "";
      const [start, end] = [y((sign * from) / total), y((sign * to) / total)];
      return `M${binEdge(index) + 0.5} ${start}V${end}H${binEdge(index + 1) - 0.5}V${start}Z`;
    };
    paths.right += bar(0, bin.length - wrong);
    paths.wrong += bar(bin.length - wrong, bin.length);
  });
  return paths;
}

/**
 * The bars of a series, and how they follow the threshold.
 * @param {Series} series
 * @param {Layout} layout
 */
function barElements(series, layout) {
  const right = svgElement("path", { class: series.style });
  const wrong = svgElement("path", { class: "wrong" });
  /** @type {Update} */
  const update = (threshold) => {
    const paths = barPaths(series, layout, threshold);
    right.setAttribute("d", paths.right);
    wrong.setAttribute("d", paths.wrong);
  };
  return { elements: [right, wrong], update };
}

/**
 * The line at the threshold with its label, and how both follow it.
 * @param {Layout} layout
 */
function thresholdElements({ left, right, top, bottom, x }) {
  const line = svgElement("path", { class: "at" });
  const label = svgElement("text", { class: "strong", y: 14 });
  /** @type {Update} */
  const update = (threshold) => {
    const position = x(clampToRange(threshold));
    const anchor = position < left + 60 ? "start" : position > right - 60 ? "end" : "middle";
    line.setAttribute("d", `M${position} ${top - 6}V${bottom}`);
    label.textContent = `threshold ${formatNumber(threshold)}`;
    label.setAttribute("x", String(position));
    label.setAttribute("text-anchor", anchor);
  };
  return { elements: [line, label], update };
}

/** Draws the histogram: good above the line, defective below it. */
function drawHistogram() {
  const chart = byId("histogram");
  const plotWidth = chart.clientWidth - MARGIN_LEFT - MARGIN_RIGHT;
  const binCount = Math.max(16, Math.min(72, Math.floor(plotWidth / 12)));
  const allSeries = makeSeries(binCount);
  const layout = makeLayout(chart.clientWidth, binCount, allSeries);
  const calibration = allSeries.filter(({ style }) => style === "calibration");
  const tested = allSeries.filter(({ style }) => style !== "calibration");
  const bars = tested.map((series) => barElements(series, layout));
  const line = thresholdElements(layout);
  const saved = `M${layout.x(data.threshold)} ${layout.top}V${layout.bottom}`;
  const zero = `M${layout.left} ${Math.round(layout.y(0))}H${layout.right}`;
  const aria = "Scores as fractions of each series: good above the line, defective below it";
  chart.replaceChildren(
    svgElement(
      "svg",
      {
        viewBox: `0 0 ${layout.width} ${layout.height}`,
        height: layout.height,
        role: "img",
        "aria-label": aria,
      },
      hatchPattern(),
      ...axisElements(layout),
      ...calibration.map((series) => outlineElement(series, layout, "calibration hatched")),
      ...bars.flatMap(({ elements }) => elements),
      ...calibration.map((series) => outlineElement(series, layout, "calibration")),
      svgElement("path", { class: "axis", d: zero }),
      svgElement("path", { class: "saved", d: saved }),
      ...line.elements,
    ),
  );
  const updates = [line.update, ...bars.map(({ update }) => update)];
  return (/** @type {number} */ threshold) => {
    for (const update of updates) update(threshold);
  };
}

function drawLegend() {
  const legend = byId("series");
  /**
   * @param {string} style
   * @param {string} text
   */
  const add = (style, text) => {
    legend.append(htmlElement("span", {}, htmlElement("i", { class: style }), text));
  };
  /** @type {[string, string, number][]} */
  const entries = [
    ["good", "good", goodScores.length],
    ["good", "inspected", isLabelled ? 0 : unlabelledScores.length],
    ["defective", "defective, below the line", defectiveScores.length],
    ["calibration", "good images it was calibrated on", calibrationScores.length],
  ];
  for (const [style, text, count] of entries) {
    if (count) add(style, `${text} (${formatCount(count)})`);
  }
  if (isLabelled) add("wrong", "on the wrong side");
}

// ---- read-outs ----

/** The cells that count the detected images of a defect type, and the scores of that type. */
const detectedCells = queryAll("[data-detected]").map((cell) => ({
  cell,
  scores: scoresWhere((defectType) => defectType === cell.dataset.detected),
}));

/**
 * @param {string} id
 * @param {number} count
 */
function setCount(id, count) {
  setText(id, formatCount(count));
  document.getElementById(id)?.classList.toggle("none", count === 0);
}

/** @param {number} threshold */
function showControls(threshold) {
  const slider = byIdAs("threshold", HTMLInputElement);
  const field = byIdAs("threshold-number", HTMLInputElement);
  const isMoved = threshold !== data.threshold;
  const falseRejects = countAbove(goodScores, threshold);
  const missed = defectiveScores.length - countAbove(defectiveScores, threshold);
  const errors = isLabelled
    ? `${falseRejects} false rejects, ${missed} missed`
    : `${countAbove(unlabelledScores, threshold)} rejected`;
  slider.value = String(threshold);
  slider.setAttribute("aria-valuetext", `${formatNumber(threshold)}: ${errors}`);
  // Whoever types a threshold must not be interrupted.
  if (document.activeElement !== field) field.value = formatField(threshold);
  byIdAs("reset", HTMLButtonElement).disabled = !isMoved;
  byId("moved").hidden = !isMoved;
  setText("moved-to", formatNumber(threshold));
  setText("moved-errors", errors);
}

/**
 * A threshold as the number field shows it.
 * @param {number} threshold
 */
const formatField = (threshold) => String(Number(threshold.toPrecision(7)));

/** @param {number} threshold */
function showCounts(threshold) {
  const detected = countAbove(defectiveScores, threshold);
  const missed = defectiveScores.length - detected;
  const falseRejects = countAbove(goodScores, threshold);
  const accepted = goodScores.length - falseRejects;
  const rejected = countAbove(unlabelledScores, threshold);
  setCount("count-missed", missed);
  setCount("count-detected", detected);
  setCount("count-false-rejects", falseRejects);
  setCount("count-accepted", accepted);
  setCount("count-rejected", rejected);
  setCount("count-good", unlabelledScores.length - rejected);
  if (isLabelled) showRejects(falseRejects, goodScores.length, "good parts of this test");
  else showRejects(rejected, unlabelledScores.length, "images");
  setText("misses", formatCount(missed));
  const missRate = formatPercent(missed, defectiveScores.length);
  setText(
    "misses-note",
    `miss rate ${missRate} of ${formatCount(defectiveScores.length)} defective parts`,
  );
  document.getElementById("misses")?.classList.toggle("alarm", missed > 0);
  /** @type {Record<string, number>} */
  const confusion = { TP: detected, FN: missed, FP: falseRejects, TN: accepted };
  for (const cell of queryAll("[data-cell]")) {
    cell.textContent = formatCount(confusion[cell.dataset.cell ?? ""]);
  }
  for (const { cell, scores } of detectedCells) showDetected(cell, scores, threshold);
}

/**
 * @param {number} rejects
 * @param {number} total
 * @param {string} what
 */
function showRejects(rejects, total, what) {
  setText("rejects-per-1000", formatPerThousand(rejects, total));
  setText("rejects-note", `${formatCount(rejects)} of ${formatCount(total)} ${what}`);
}

/**
 * @param {HTMLElement} cell
 * @param {number[]} scores Of one defect type, ascending.
 * @param {number} threshold
 */
function showDetected(cell, scores, threshold) {
  const detected = countAbove(scores, threshold);
  const recall = formatPercent(detected, scores.length, 0);
  cell.textContent = `${formatCount(detected)} (${recall})`;
  cell.classList.toggle("alarm", detected < scores.length);
}

/**
 * The false rejects that a threshold lets expect, by its rank among the calibration scores.
 * @param {number} threshold
 */
function showExpected(threshold) {
  const total = calibrationScores.length;
  const rank = 1 + countAbove(calibrationScores, threshold);
  const isPossible = total > 0 && rank <= total;
  setText("expected-per-1000", total ? formatPerThousand(rank, total + 1) : "–");
  setText(
    "expected-note",
    total
      ? `${formatCount(rank)} of ${formatCount(total + 1)}, by rank among held-out scores`
      : "no good images were held out",
  );
  setText(
    "command-words",
    isPossible
      ? "To set it for that expected false reject rate:"
      : "No false reject rate stands for this: every good part would be rejected.",
  );
  byId("command").hidden = !isPossible;
  byId("command-line").hidden = !total;
  const rate = shortestFraction(rank, total);
  const saved = calibrationScores[total - rank];
  setText(
    "command",
    isPossible ? `flawmap threshold INSPECTOR.flawmap --false-rejects ${rate}` : "",
  );
  setText("command-note", isPossible ? `which puts it at ${formatNumber(saved)}` : "");
}

/**
 * The shortest decimal fraction X with floor(X (total + 1)) = rank.
 * @param {number} rank 1…total.
 * @param {number} total Number of calibration scores.
 */
function shortestFraction(rank, total) {
  const fraction = rank / (total + 1);
  for (let digits = 1; digits < 12; digits++) {
    const rounded = Math.ceil(fraction * 10 ** digits - 1e-9) / 10 ** digits;
    const isSameRank = Math.floor(rounded * (total + 1) + 1e-9) === rank;
    if (rounded < 1 && isSameRank) return rounded.toFixed(digits);
  }
  return String(fraction);
}

// ---- start ----

function setUpThreshold() {
  const slider = byIdAs("threshold", HTMLInputElement);
  const field = byIdAs("threshold-number", HTMLInputElement);
  slider.min = String(scoreRange.low);
  slider.max = String(scoreRange.high);
  slider.step = String(scoreRange.step);
  slider.addEventListener("input", () => setThreshold(slider.valueAsNumber));
  field.addEventListener("input", () => {
    if (Number.isFinite(field.valueAsNumber)) setThreshold(field.valueAsNumber);
  });
  field.addEventListener("change", () => {
    field.value = formatField(threshold);
  });
  for (const id of ["reset", "moved-reset"]) {
    byId(id).addEventListener("click", () => setThreshold(data.threshold));
  }
}

function redrawOnResize() {
  let drawnWidth = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === drawnWidth) return;
    drawnWidth = window.innerWidth;
    redrawViews();
  });
}

setUpThreshold();
drawLegend();
addView(drawHistogram);
setThreshold(data.threshold);
redrawOnResize();
