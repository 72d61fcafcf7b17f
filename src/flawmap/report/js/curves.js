// Every threshold at once: the ROC and precision-recall curves, and a strip of scores per type.

import { addView, MARGIN_LEFT, MARGIN_RIGHT, setThreshold, threshold } from "./histogram.js";
import {
  byId,
  clampToRange,
  countAbove,
  data,
  defectiveScores,
  formatNumber,
  formatPercent,
  goodScores,
  queryAll,
  scoreFraction,
  scoreRange,
  setText,
  svgElement,
} from "./numbers.js";

// ---- operating points ----

/**
 * What one threshold does.
 * @typedef {object} OperatingPoint
 * @property {number} threshold In units of the score.
 * @property {number} falseRejects Number of good parts that are rejected.
 * @property {number} detected Number of defective parts that are rejected.
 */

/**
 * What a threshold does.
 * @param {number} threshold In units of the score.
 * @returns {OperatingPoint}
 */
const operatingPointAt = (threshold) => ({
  threshold,
  falseRejects: countAbove(goodScores, threshold),
  detected: countAbove(defectiveScores, threshold),
});

/**
 * One point for every set of parts that some threshold rejects, from none to all; equal scores
 * go together.
 */
function allOperatingPoints() {
  const scores = [...new Set([...goodScores, ...defectiveScores])].sort((a, b) => b - a);
  const points = [operatingPointAt(scores[0])];
  scores.forEach((score, index) => {
    const next = scores[index + 1] ?? scoreRange.low;
    const middle = (score + next) / 2;
    // Between two neighbouring floats there is no third.
    points.push(operatingPointAt(middle < score ? middle : next));
  });
  return points;
}

const operatingPoints = goodScores.length && defectiveScores.length ? allOperatingPoints() : [];

/** @param {OperatingPoint} point */
const recallOf = ({ detected }) => detected / defectiveScores.length;

/** @param {OperatingPoint} point */
const falseRejectRateOf = ({ falseRejects }) => falseRejects / goodScores.length;

/** @param {OperatingPoint} point */
const precisionOf = ({ detected, falseRejects }) =>
  detected + falseRejects ? detected / (detected + falseRejects) : 1;

// ---- curves ----

/**
 * Places of things in a curve's chart, in pixels of its SVG.
 * @typedef {object} Axes
 * @property {number} width
 * @property {number} height
 * @property {number} left Of the plot.
 * @property {number} right Of the plot.
 * @property {number} top Of the plot.
 * @property {number} bottom Of the plot.
 * @property {(fraction: number) => number} x Of 0…1.
 * @property {(fraction: number) => number} y Of 0…1.
 */

/**
 * @typedef {object} Curve
 * @property {string} id Of the element that holds the chart; its read-out is `<id>-at`.
 * @property {string} title
 * @property {string} xLabel
 * @property {string} yLabel
 * @property {(point: OperatingPoint) => number} xOf 0…1.
 * @property {(point: OperatingPoint) => number} yOf 0…1.
 * @property {(point: OperatingPoint) => string} describe What its two values say.
 * @property {(axes: Axes) => string} path The curve as an SVG path.
 * @property {(axes: Axes) => SVGElement[]} baseline What an inspector without skill would reach.
 */

/**
 * @param {number} width Of the chart, in pixels.
 * @returns {Axes}
 */
function makeAxes(width) {
  const height = Math.min(width, 420);
  const left = MARGIN_LEFT;
  const right = width - MARGIN_RIGHT;
  const top = 24;
  const bottom = height - 40;
  return {
    ...{ width, height, left, right, top, bottom },
    x: (fraction) => left + fraction * (right - left),
    y: (fraction) => bottom - fraction * (bottom - top),
  };
}

/**
 * Grid lines with their percentages, and what the axes mean.
 * @param {Axes} axes
 * @param {Curve} curve
 */
function axesElements({ left, right, top, bottom, height, x, y }, { xLabel, yLabel }) {
  const elements = [
    svgElement("text", { x: right, y: height - 4, "text-anchor": "end" }, xLabel),
    svgElement("text", { x: 0, y: 11 }, yLabel),
  ];
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    const [column, row] = [x(value), y(value)];
    const grid = `M${left} ${Math.round(row)}H${right}M${Math.round(column)} ${top}V${bottom}`;
    const anchor = value === 1 ? "end" : "middle";
    const percent = `${value * 100} %`;
    elements.push(
      svgElement("path", { class: "grid", d: grid }),
      svgElement("text", { x: left - 8, y: row + 4, "text-anchor": "end" }, percent),
      svgElement(
        "text",
        { x: column, y: bottom + 18, "text-anchor": anchor },
        value === 0 ? "0" : percent,
      ),
    );
  }
  return elements;
}

/**
 * Moves a circle to an operating point.
 * @param {SVGElement} circle
 * @param {Axes} axes
 * @param {Curve} curve
 * @param {OperatingPoint} point
 */
function placeCircle(circle, { x, y }, { xOf, yOf }, point) {
  circle.setAttribute("cx", String(x(xOf(point))));
  circle.setAttribute("cy", String(y(yOf(point))));
}

/**
 * The operating point whose place on a curve is nearest to the pointer.
 * @param {MouseEvent} event
 * @param {Element} chart
 * @param {Axes} axes
 * @param {Curve} curve
 */
function nearestPoint(event, chart, { x, y }, { xOf, yOf }) {
  const box = chart.getBoundingClientRect();
  const distance = (/** @type {OperatingPoint} */ point) =>
    Math.hypot(
      x(xOf(point)) - (event.clientX - box.left),
      y(yOf(point)) - (event.clientY - box.top),
    );
  return operatingPoints.reduce((best, point) => (distance(point) < distance(best) ? point : best));
}

/**
 * Draws a curve that can be read by pointing and clicked to set the threshold.
 * @param {Curve} curve
 */
function drawCurve(curve) {
  const chart = byId(curve.id);
  const axes = makeAxes(chart.clientWidth);
  const marker = svgElement("circle", { class: "marker", r: 5.5 });
  const ring = svgElement("circle", { class: "ring", r: 8 });
  const size = { viewBox: `0 0 ${axes.width} ${axes.height}`, height: axes.height };
  const image = svgElement(
    "svg",
    { ...size, role: "img", "aria-label": curve.title },
    ...axesElements(axes, curve),
    ...curve.baseline(axes),
    svgElement("path", { class: "curve", d: curve.path(axes) }),
    ring,
    marker,
  );
  chart.replaceChildren(image);
  const read = (/** @type {OperatingPoint} */ point) =>
    setText(`${curve.id}-at`, `At ${formatNumber(point.threshold)}: ${curve.describe(point)}`);
  image.addEventListener("pointermove", (event) => {
    const point = nearestPoint(event, image, axes, curve);
    placeCircle(ring, axes, curve, point);
    ring.style.visibility = "visible";
    read(point);
  });
  image.addEventListener("pointerleave", () => {
    ring.style.visibility = "hidden";
    read(operatingPointAt(threshold));
  });
  image.addEventListener("click", (event) => {
    setThreshold(nearestPoint(event, image, axes, curve).threshold);
  });
  return (/** @type {number} */ threshold) => {
    const point = operatingPointAt(threshold);
    placeCircle(marker, axes, curve, point);
    read(point);
  };
}

/** @type {Curve} */
const rocCurve = {
  id: "roc",
  title: "ROC curve",
  xLabel: "false reject rate (false-positive rate)",
  yLabel: "defects detected (recall)",
  xOf: falseRejectRateOf,
  yOf: recallOf,
  describe: (point) =>
    `${formatPercent(recallOf(point), 1)} of defects detected, ` +
    `${formatPercent(falseRejectRateOf(point), 1)} false reject rate`,
  path: ({ x, y }) => {
    const places = operatingPoints.map(
      (point) => `${x(falseRejectRateOf(point))} ${y(recallOf(point))}`,
    );
    return `M${places.join("L")}`;
  },
  baseline: ({ x, y }) => [
    svgElement("path", { class: "baseline", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }),
  ],
};

/** @type {Curve} */
const precisionRecallCurve = {
  id: "pr",
  title: "Precision-recall curve",
  xLabel: "defects detected (recall)",
  yLabel: "rejects that are defects (precision)",
  xOf: recallOf,
  yOf: precisionOf,
  describe: (point) =>
    `${formatPercent(recallOf(point), 1)} of defects detected, ` +
    `${formatPercent(precisionOf(point), 1)} of rejects are defects`,
  path: ({ x, y }) => {
    const points = operatingPoints.slice(1);
    const steps = points.map((point) => `V${y(precisionOf(point))}H${x(recallOf(point))}`);
    return `M${x(0)} ${y(precisionOf(points[0]))}${steps.join("")}`;
  },
  baseline: ({ left, x, y }) => {
    const prevalence = defectiveScores.length / (defectiveScores.length + goodScores.length);
    const label = `defect prevalence: ${formatPercent(prevalence, 1)}`;
    return [
      svgElement("path", { class: "baseline", d: `M${x(0)} ${y(prevalence)}H${x(1)}` }),
      svgElement("text", { x: left + 8, y: y(prevalence) - 6 }, label),
    ];
  },
};

// ---- strips ----

/**
 * Draws the scores of one defect type as dots on a line.
 * @param {HTMLElement} chart Its `data-strip` names the defect type.
 */
function drawStrip(chart) {
  const defectType = chart.dataset.strip;
  const isGood = defectType === "good";
  const width = chart.clientWidth;
  const height = 34;
  const x = (/** @type {number} */ score) => 6 + scoreFraction(score) * (width - 12);
  const scores = data.scores.filter(([type]) => type === defectType).map(([, score]) => score);
  // Golden-ratio jitter: spread out, and the same each time.
  const dots = scores.map((score, index) => {
    const y = 7 + 20 * ((index * 0.618034) % 1);
    return { score, path: `M${x(score).toFixed(1)} ${y.toFixed(1)}h0` };
  });
  const right = svgElement("path", { class: isGood ? "good" : "defective" });
  const wrong = svgElement("path", { class: "wrong" });
  const line = svgElement("line", { class: "at", y1: 0, y2: height });
  const size = { viewBox: `0 0 ${width} ${height}`, height };
  const label = { role: "img", "aria-label": `Scores of ${defectType}` };
  chart.replaceChildren(svgElement("svg", { ...size, ...label }, right, wrong, line));
  return (/** @type {number} */ threshold) => {
    const paths = { right: "", wrong: "" };
    for (const { score, path } of dots) {
      paths[score > threshold === isGood ? "wrong" : "right"] += path;
    }
    right.setAttribute("d", paths.right);
    wrong.setAttribute("d", paths.wrong);
    line.setAttribute("x1", String(x(clampToRange(threshold))));
    line.setAttribute("x2", String(x(clampToRange(threshold))));
  };
}

// ---- start ----

if (operatingPoints.length) {
  addView(() => drawCurve(rocCurve));
  addView(() => drawCurve(precisionRecallCurve));
}
for (const chart of queryAll("[data-strip]")) addView(() => drawStrip(chart));
