(() => {
"use strict";
const root = document.documentElement;
root.classList.add("js");
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const LEFT = 44, RIGHT = 12;

// ---- numbers ----

const ascending = (values) => values.sort((a, b) => a - b);
const ofKind = (matches) => ascending(data.scores.filter(([kind]) => matches(kind)).map(([, score]) => score));
const good = ofKind((kind) => kind === "good");
const defective = ofKind((kind) => kind !== null && kind !== "good");
const unknown = ofKind((kind) => kind === null);
const held = data.heldOut;
const labelled = good.length + defective.length > 0;

/** How many of the ascending values lie beyond t. */
function beyond(values, t) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > t) high = middle; else low = middle + 1;
  }
  return values.length - low;
}

function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
}

const round = (value, step) => Number((Math.round(value / step) * step).toPrecision(12));

/** The scores that the page spans: whole steps, so that the slider's values are round. */
function span() {
  const values = [data.threshold, ...held, ...good, ...defective, ...unknown];
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  const width = high - low || Math.abs(high) * 0.2 || 1;
  const step = nice(width / 800);
  return { low: round(low - width * 0.02 - step / 2, step), high: round(high + width * 0.02 + step / 2, step), step };
}
const range = span();

function number(value, digits = 4) {
  if (value === null || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1e4 ? value.toFixed(0) : String(Number(value.toPrecision(digits)));
}
const whole = (count) => count.toLocaleString("en-US");
const share = (part, total, digits = 1) => total ? (100 * part / total).toFixed(digits) + " %" : "–";
const perThousand = (part, total) => total ? (1000 * part / total).toFixed(1) : "–";

// ---- drawing ----

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function ticks(low, high, about) {
  const step = nice((high - low) / about);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
  return found;
}

const movers = {};
let threshold = data.threshold;

// ---- histogram ----

/** The ascending values, bin by bin. */
function binned(values, bins) {
  const found = Array.from({ length: bins }, () => []);
  for (const value of values) {
    found[Math.min(bins - 1, Math.max(0, Math.floor((value - range.low) / (range.high - range.low) * bins)))].push(value);
  }
  return found;
}

function drawHistogram() {
  const place = $("histogram"), width = place.clientWidth;
  const size = { width, height: width < 560 ? 260 : 320 };
  const plot = { left: LEFT, right: width - RIGHT, top: 26, bottom: size.height - 24 };
  const bins = Math.max(16, Math.min(72, Math.floor((plot.right - plot.left) / 12)));
  const series = [
    { name: "good", values: good, up: true, wrong: "right" },
    { name: "good", values: unknown, up: true, wrong: "" },
    { name: "held", values: held, up: true, wrong: "" },
    { name: "defective", values: defective, up: false, wrong: "left" },
  ].filter((one) => one.values.length).map((one) => {
    const parts = binned(one.values, bins);
    return { ...one, parts, shares: parts.map((part) => part.length / one.values.length) };
  });
  const most = (up) => Math.max(0, ...series.filter((one) => one.up === up).flatMap((one) => one.shares));
  let top = most(true), bottom = most(false);
  if (top && bottom) [top, bottom] = [Math.max(top, bottom * 0.3), Math.max(bottom, top * 0.3)];
  if (!top && !bottom) top = 1;
  const unit = (plot.bottom - plot.top) / (top + bottom), zero = plot.top + top * unit;
  const x = (t) => plot.left + (t - range.low) / (range.high - range.low) * (plot.right - plot.left);
  const y = (value) => zero - value * unit;
  const picture = svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, height: size.height, role: "img",
    "aria-label": "Scores as shares of each series: good above the line, defective below it" },
    svg("defs", {}, svg("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("path", { d: "M0 0V5", stroke: "currentColor", "stroke-opacity": 0.28, "stroke-width": 1.5 }))));
  for (const value of ticks(-bottom, top, size.height / 70)) {
    picture.append(svg("path", { class: "grid", d: `M${plot.left} ${Math.round(y(value))}H${plot.right}` }));
    const text = svg("text", { x: plot.left - 8, y: y(value) + 4, "text-anchor": "end" });
    text.textContent = `${number(Math.abs(value) * 100, 3)} %`;
    picture.append(text);
  }
  const moves = [];
  const edge = (n) => plot.left + n / bins * (plot.right - plot.left);
  const calibrated = series.find((one) => one.name === "held");
  if (calibrated) picture.append(outline(calibrated.shares, edge, y, zero, "held hatched"));
  for (const one of series) {
    if (one.name === "held") continue;
    const own = svg("path", { class: one.name }), wrong = svg("path", { class: "wrong" });
    picture.append(own, wrong);
    moves.push((t) => {
      const [ownBars, wrongBars] = bars(one, t, edge, y);
      own.setAttribute("d", ownBars);
      wrong.setAttribute("d", wrongBars);
    });
  }
  if (calibrated) picture.append(outline(calibrated.shares, edge, y, zero, "held"));
  picture.append(svg("path", { class: "axis", d: `M${plot.left} ${Math.round(zero)}H${plot.right}` }));
  for (const value of ticks(range.low, range.high, width / 90)) {
    const text = svg("text", { x: x(value), y: size.height - 4, "text-anchor": "middle" });
    text.textContent = number(value);
    picture.append(text);
  }
  picture.append(svg("path", { class: "saved", d: `M${x(data.threshold)} ${plot.top}V${plot.bottom}` }));
  const line = svg("path", { class: "at" }), label = svg("text", { class: "strong", y: 14 });
  picture.append(line, label);
  place.replaceChildren(picture);
  movers.histogram = (t) => {
    const at = x(Math.max(range.low, Math.min(range.high, t)));
    line.setAttribute("d", `M${at} ${plot.top - 6}V${plot.bottom}`);
    label.textContent = `threshold ${number(t)}`;
    label.setAttribute("x", at);
    label.setAttribute("text-anchor", at < plot.left + 60 ? "start" : at > plot.right - 60 ? "end" : "middle");
    moves.forEach((move) => move(t));
  };
  movers.histogram(threshold);
}

/** Bars whose tips are the part of a bin that lies on the wrong side of t. */
function bars(one, t, edge, y) {
  const paths = ["", ""], sign = one.up ? 1 : -1;
  one.parts.forEach((part, n) => {
    const over = beyond(part, t), wrong = { right: over, left: part.length - over, "": 0 }[one.wrong];
    const ends = [0, part.length - wrong, part.length].map((count) => y(sign * count / one.values.length));
    for (const k of [0, 1]) {
      if (ends[k] !== ends[k + 1]) paths[k] += `M${edge(n) + 0.5} ${ends[k]}V${ends[k + 1]}H${edge(n + 1) - 0.5}V${ends[k]}Z`;
    }
  });
  return paths;
}

function outline(shares, edge, y, zero, style) {
  let path = `M${edge(0)} ${zero}`;
  shares.forEach((part, n) => { path += `V${y(part)}H${edge(n + 1)}`; });
  return svg("path", { class: style, d: `${path}V${zero}` });
}

function drawLegend() {
  const words = [
    ["good", labelled ? "good" : "judged", labelled ? good.length : unknown.length],
    ["defective", "defective, below the line", defective.length],
    ["held", "good pictures it was calibrated on", held.length],
  ];
  for (const [style, word, count] of words) {
    if (count) $("series").append(html("span", {}, html("i", { class: style }), `${word} (${whole(count)})`));
  }
  if (labelled) $("series").append(html("span", {}, html("i", { class: "wrong" }), "on the wrong side"));
}

// ---- curves ----

/** Every set of parts that some threshold rejects, from none to all; equal scores go together. */
function operatingPoints() {
  const values = [...new Set([...good, ...defective])].sort((a, b) => b - a);
  const points = [{ fp: 0, tp: 0, t: values[0] }];
  values.forEach((value, n) => {
    const below = n + 1 < values.length ? values[n + 1] : range.low;
    const middle = (value + below) / 2, t = middle < value ? middle : below;
    points.push({ fp: beyond(good, t), tp: beyond(defective, t), t });
  });
  return points;
}

const recall = (point) => point.tp / defective.length;
const fallout = (point) => point.fp / good.length;
const precision = (point) => point.tp + point.fp ? point.tp / (point.tp + point.fp) : 1;
const here = (t) => ({ fp: beyond(good, t), tp: beyond(defective, t), t });

function drawCurve(name, { across, up, words, labels, path, trivial }) {
  const place = $(name), width = place.clientWidth, height = Math.min(width, 420);
  const plot = { left: LEFT, right: width - RIGHT, top: 24, bottom: height - 40 };
  const x = (value) => plot.left + value * (plot.right - plot.left);
  const y = (value) => plot.bottom - value * (plot.bottom - plot.top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": words.title });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(svg("path", { class: "grid", d: `M${plot.left} ${Math.round(y(value))}H${plot.right}M${Math.round(x(value))} ${plot.top}V${plot.bottom}` }));
    const side = svg("text", { x: plot.left - 8, y: y(value) + 4, "text-anchor": "end" });
    const foot = svg("text", { x: x(value), y: plot.bottom + 18, "text-anchor": value === 1 ? "end" : "middle" });
    side.textContent = foot.textContent = `${value * 100} %`;
    if (value === 0) foot.textContent = "0";
    picture.append(side, foot);
  }
  const titles = [svg("text", { x: plot.right, y: height - 4, "text-anchor": "end" }), svg("text", { x: 0, y: 11 })];
  titles.forEach((title, n) => { title.textContent = labels[n]; });
  const marker = svg("circle", { class: "marker", r: 5.5 }), ring = svg("circle", { class: "ring", r: 8 });
  picture.append(...trivial(x, y, plot), svg("path", { class: "curve", d: path(x, y) }), ...titles, ring, marker);
  place.replaceChildren(picture);
  const read = (point) => { $(`${name}-at`).textContent = words.say(point); };
  const nearest = (event) => {
    const box = picture.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    const far = (point) => (x(across(point)) - px) ** 2 + (y(up(point)) - py) ** 2;
    return points.reduce((best, point) => far(point) < far(best) ? point : best);
  };
  picture.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    ring.setAttribute("cx", x(across(point)));
    ring.setAttribute("cy", y(up(point)));
    ring.style.visibility = "visible";
    read(point);
  });
  picture.addEventListener("pointerleave", () => { ring.style.visibility = "hidden"; read(here(threshold)); });
  picture.addEventListener("click", (event) => moveTo(nearest(event).t));
  movers[name] = (t) => {
    const point = here(t);
    marker.setAttribute("cx", x(across(point)));
    marker.setAttribute("cy", y(up(point)));
    read(point);
  };
  movers[name](threshold);
}

const points = good.length && defective.length ? operatingPoints() : [];

function drawCurves() {
  drawCurve("roc", {
    across: fallout, up: recall,
    labels: ["good parts rejected (false-positive rate)", "defects caught (recall)"],
    words: { title: "ROC curve", say: (point) => `At ${number(point.t)}: ${share(recall(point), 1)} of defects caught, ${share(fallout(point), 1)} of good parts rejected` },
    path: (x, y) => points.map((point, n) => `${n ? "L" : "M"}${x(fallout(point))} ${y(recall(point))}`).join(""),
    trivial: (x, y) => [svg("path", { class: "trivial", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` })],
  });
  const base = defective.length / (defective.length + good.length);
  drawCurve("pr", {
    across: recall, up: precision,
    labels: ["defects caught (recall)", "rejects that are defects (precision)"],
    words: { title: "Precision-recall curve", say: (point) => `At ${number(point.t)}: ${share(recall(point), 1)} of defects caught, ${share(precision(point), 1)} of rejects are defects` },
    path: (x, y) => `M${x(0)} ${y(precision(points[1]))}` + points.slice(1).map((point) => `V${y(precision(point))}H${x(recall(point))}`).join(""),
    trivial: (x, y, plot) => {
      const text = svg("text", { x: plot.left + 8, y: y(base) - 6 });
      text.textContent = `rejecting all: ${share(base, 1)}`;
      return [svg("path", { class: "trivial", d: `M${x(0)} ${y(base)}H${x(1)}` }), text];
    },
  });
}

// ---- kinds ----

function drawStrips() {
  movers.strips = [];
  for (const place of all("[data-strip]")) {
    const kind = place.dataset.strip, size = { width: place.clientWidth, height: 34 };
    const x = (t) => 6 + (t - range.low) / (range.high - range.low) * (size.width - 12);
    // Golden-ratio jitter: spread out, and the same each time.
    const dots = data.scores.filter(([one]) => one === kind).map(([, score], n) =>
      ({ score, path: `M${x(score).toFixed(1)} ${(7 + 20 * ((n * 0.618034) % 1)).toFixed(1)}h0` }));
    const own = svg("path", { class: kind === "good" ? "good" : "defective" }), wrong = svg("path", { class: "wrong" });
    const line = svg("line", { class: "at", y1: 0, y2: size.height });
    place.replaceChildren(svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, height: size.height, role: "img", "aria-label": `Scores of ${kind}` }, own, wrong, line));
    const draw = (path, chosen) => path.setAttribute("d", dots.filter(chosen).map((dot) => dot.path).join(""));
    movers.strips.push((t) => {
      const isWrong = (dot) => (dot.score > t) === (kind === "good");
      draw(own, (dot) => !isWrong(dot));
      draw(wrong, isWrong);
      const at = x(Math.max(range.low, Math.min(range.high, t)));
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
    });
  }
  movers.strips.forEach((move) => move(threshold));
}

const kinds = new Map(all("[data-caught]").map((cell) => [cell, ofKind((kind) => kind === cell.dataset.caught)]));

// ---- what a threshold does ----

function say(id, text) { const element = $(id); if (element) element.textContent = text; }

function setCount(id, value) {
  const element = $(id);
  if (!element) return;
  element.textContent = whole(value);
  element.classList.toggle("none", !value);
}

function showCounts(t) {
  const caught = beyond(defective, t), rejects = beyond(good, t), others = beyond(unknown, t);
  const missed = defective.length - caught;
  setCount("count-missed", missed);
  setCount("count-caught", caught);
  setCount("count-false-rejects", rejects);
  setCount("count-passed", good.length - rejects);
  setCount("count-rejected", others);
  setCount("count-good", unknown.length - others);
  const [part, total] = labelled ? [rejects, good.length] : [others, unknown.length];
  say("rejects-per-1000", perThousand(part, total));
  say("rejects-note", `${whole(part)} of ${whole(total)} ${labelled ? "good parts of this test" : "pictures"}`);
  say("misses", whole(missed));
  say("misses-note", `${share(missed, defective.length)} of ${whole(defective.length)} defective parts`);
  const cells = { TP: caught, FN: missed, FP: rejects, TN: good.length - rejects };
  for (const cell of all("[data-cell]")) cell.textContent = whole(cells[cell.dataset.cell]);
  $("misses")?.classList.toggle("alarm", missed > 0);
  for (const [cell, scores] of kinds) {
    const found = beyond(scores, t);
    cell.textContent = `${whole(found)} (${share(found, scores.length, 0)})`;
    cell.classList.toggle("alarm", found < scores.length);
  }
}

function showExpected(t) {
  const n = held.length, rank = 1 + beyond(held, t);
  say("expected-per-1000", n ? perThousand(rank, n + 1) : "–");
  say("expected-note", n ? `${whole(rank)} of ${whole(n + 1)}, by rank among held-out scores` : "no good pictures were held out");
  const possible = n > 0 && rank <= n;
  say("command-words", possible ? "To set it for that expected share:"
    : n ? "No share of false rejects stands for this: every good part would be rejected." : "");
  $("command").hidden = !possible;
  $("command-line").hidden = !n;
  say("command", possible ? `flawmap threshold PART --false-rejects ${shareFor(rank, n)}` : "");
  say("command-note", possible ? `which puts it at ${number(held[n - rank])}` : "");
}

/** The shortest share X with floor(X (n + 1)) = rank. */
function shareFor(rank, n) {
  for (let digits = 1; digits < 12; digits++) {
    const x = Math.ceil(rank / (n + 1) * 10 ** digits - 1e-9) / 10 ** digits;
    if (x < 1 && Math.floor(x * (n + 1) + 1e-9) === rank) return x.toFixed(digits);
  }
  return String(rank / (n + 1));
}

function moveTo(t) {
  threshold = t;
  const slider = $("threshold"), moved = t !== data.threshold;
  slider.value = t;
  const errors = labelled ? `${beyond(good, t)} false rejects, ${defective.length - beyond(defective, t)} missed` : `${beyond(unknown, t)} rejected`;
  slider.setAttribute("aria-valuetext", `${number(t)}: ${errors}`);
  if (document.activeElement !== $("threshold-number")) $("threshold-number").value = Number(t.toPrecision(7));
  $("reset").disabled = !moved;
  $("moved").hidden = !moved;
  say("moved-to", number(t));
  say("moved-errors", errors);
  showCounts(t);
  showExpected(t);
  movers.histogram?.(t);
  movers.roc?.(t);
  movers.pr?.(t);
  movers.strips?.forEach((move) => move(t));
  refresh();
}

function setUpThreshold() {
  const slider = $("threshold"), field = $("threshold-number");
  Object.assign(slider, { min: range.low, max: range.high, step: range.step });
  slider.addEventListener("input", () => moveTo(Number(slider.value)));
  field.addEventListener("input", () => { if (field.value !== "" && Number.isFinite(field.valueAsNumber)) moveTo(field.valueAsNumber); });
  field.addEventListener("change", () => { field.value = Number(threshold.toPrecision(7)); });
  for (const id of ["reset", "moved-reset"]) $(id).addEventListener("click", () => moveTo(data.threshold));
}

// ---- gallery ----

const cards = all(".card");
const choice = { outcome: "all", kind: "", search: "" };
let shown = cards;

function outcomeOf(card, t) {
  const reject = card.score > t;
  if (card.kind === null) return reject ? "reject" : "good";
  if (card.kind === "good") return reject ? "false-reject" : "passed";
  return reject ? "caught" : "missed";
}

function setBadge(badge, outcome) {
  badge.className = `badge ${outcome}`;
  badge.textContent = data.labels[outcome];
}

function refresh() {
  if (!cards.length) return;
  const counts = {};
  shown = cards.filter((element) => {
    const card = data.cards[element.dataset.index], outcome = outcomeOf(card, threshold);
    if (element.dataset.verdict !== outcome) {
      element.dataset.verdict = outcome;
      setBadge(element.querySelector(".badge"), outcome);
    }
    const fits = (!choice.kind || card.kind === choice.kind) && card.path.toLowerCase().includes(choice.search);
    if (fits) counts[outcome] = (counts[outcome] || 0) + 1;
    const stays = fits && (choice.outcome === "all" || choice.outcome === outcome);
    element.parentElement.hidden = !stays;
    return stays;
  });
  counts.all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  for (const button of all("[data-outcome]")) {
    button.querySelector("b").textContent = whole(counts[button.dataset.outcome] || 0);
    button.setAttribute("aria-pressed", button.dataset.outcome === choice.outcome);
  }
  say("shown", shown.length === cards.length ? `${whole(cards.length)} shown` : `${whole(shown.length)} of ${whole(cards.length)} shown`);
  $("nothing").hidden = shown.length > 0;
  if (!shown.some((card) => card.tabIndex === 0)) rove(shown[0]);
}

function rove(card) {
  for (const one of cards) one.tabIndex = one === card ? 0 : -1;
}

function order(by) {
  const at = (element) => data.cards[element.dataset.index];
  const compare = {
    worst: (a, b) => a.dataset.index - b.dataset.index,
    score: (a, b) => (at(b).score ?? Infinity) - (at(a).score ?? Infinity) || a.dataset.index - b.dataset.index,
    path: (a, b) => at(a).path.localeCompare(at(b).path, undefined, { numeric: true }),
  }[by];
  cards.sort(compare);
  document.querySelector(".cards").append(...cards.map((card) => card.parentElement));
  refresh();
}

function setUpGallery() {
  for (const button of all("[data-outcome]")) {
    button.addEventListener("click", () => { choice.outcome = button.dataset.outcome; refresh(); });
  }
  $("kind-filter")?.addEventListener("change", (event) => { choice.kind = event.target.value; refresh(); });
  $("search").addEventListener("input", (event) => { choice.search = event.target.value.toLowerCase(); refresh(); });
  $("sort").addEventListener("change", (event) => order(event.target.value));
  $("clear").addEventListener("click", () => {
    Object.assign(choice, { outcome: "all", kind: "", search: "" });
    $("search").value = "";
    if ($("kind-filter")) $("kind-filter").value = "";
    refresh();
  });
  for (const card of cards) {
    card.addEventListener("click", () => open(card));
    card.addEventListener("focus", () => rove(card));
  }
  document.addEventListener("keydown", onKey);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("lightbox").open) return;
  const on = document.activeElement;
  if (on.matches("input, select, textarea")) return;
  if (event.key === "/") { event.preventDefault(); $("search").focus(); return; }
  const from = shown.indexOf(on);
  const columns = shown.filter((card) => card.parentElement.offsetTop === shown[0].parentElement.offsetTop).length;
  const arrows = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const step = { j: 1, k: -1, ...(from >= 0 ? arrows : {}) }[event.key];
  if (!step || !shown.length) return;
  event.preventDefault();
  const to = from < 0 ? shown.find((card) => card.tabIndex === 0) || shown[0] : shown[from + step];
  to?.focus();
  to?.parentElement.scrollIntoView({ block: "nearest" });
}

// ---- large view ----

let opened = null;

function open(card) {
  opened = card;
  const info = data.cards[card.dataset.index];
  $("lightbox-path").textContent = info.path;
  setBadge($("lightbox-badge"), card.dataset.verdict);
  say("lightbox-place", `${whole(shown.indexOf(card) + 1)} of ${whole(shown.length)}`);
  $("lightbox-pictures").replaceChildren(...all("img", card).map((image) => figure(image, info)));
  $("lightbox-facts").replaceChildren(...facts(info));
  $("lightbox-regions").replaceChildren(regions(info));
  // Not "disabled": a disabled button drops the focus, and the keys with it.
  $("previous").setAttribute("aria-disabled", shown.indexOf(card) <= 0);
  $("next").setAttribute("aria-disabled", shown.indexOf(card) >= shown.length - 1);
  if (!$("lightbox").open) $("lightbox").showModal();
}

function figure(image, info) {
  const ratio = info.width / info.height;
  const frame = html("div", { class: "frame" }, html("img", { src: image.src, alt: image.alt }),
    svg("svg", { viewBox: `0 0 ${info.width} ${info.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }));
  frame.style.width = `min(100%, ${(56 * ratio).toFixed(2)}vh)`;
  frame.style.aspectRatio = String(ratio);
  return html("figure", {}, html("figcaption", {}, image.alt), frame);
}

function facts(info) {
  const entries = [["score", number(info.score)], ["threshold", number(threshold)], ["p-value", number(info.p_value, 2)],
    ["kind", info.kind ?? "not known"], ["size", `${info.width} × ${info.height} px`]];
  return entries.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)));
}

function regions(info) {
  if (!info.count) return html("p", { class: "muted" }, "Nothing lies beyond the limit of good parts.");
  const cell = (text) => html("td", {}, text);
  const head = html("tr", {}, ...["#", "x", "y", "w × h", "area, px", "peak, × limit"].map((name) => html("th", { scope: "col" }, name)));
  const rows = info.regions.map((region, n) => {
    const row = html("tr", { tabindex: 0 }, cell(String(n + 1)), cell(String(region.x)), cell(String(region.y)),
      cell(`${region.width} × ${region.height}`), cell(whole(region.area)), cell(region.peak === null ? "–" : region.peak.toFixed(2)));
    for (const type of ["pointerenter", "focus"]) row.addEventListener(type, () => frameRegion(region));
    for (const type of ["pointerleave", "blur"]) row.addEventListener(type, () => frameRegion(null));
    return row;
  });
  const more = info.count > rows.length ? `, the first ${rows.length} of ${whole(info.count)}` : "";
  return html("table", {}, html("caption", {}, `Regions beyond the limit of good parts, the oddest first${more}; point at one to see where it is`),
    html("thead", {}, head), html("tbody", {}, ...rows));
}

function frameRegion(region) {
  for (const layer of all("#lightbox-pictures svg")) {
    layer.replaceChildren(...(region ? [svg("rect", { x: region.x, y: region.y, width: region.width, height: region.height })] : []));
  }
}

function step(by) {
  const to = shown[shown.indexOf(opened) + by];
  if (to) open(to);
}

function setUpLightbox() {
  const dialog = $("lightbox");
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("keydown", (event) => {
    if (!dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
  dialog.addEventListener("close", () => { opened?.focus(); opened?.parentElement.scrollIntoView({ block: "nearest" }); });
}

// ---- start ----

function draw() {
  drawHistogram();
  if (points.length) drawCurves();
  drawStrips();
}

setUpThreshold();
drawLegend();
if (cards.length) { setUpGallery(); setUpLightbox(); }
draw();
moveTo(data.threshold);
let drawn = window.innerWidth;
window.addEventListener("resize", () => { if (window.innerWidth !== drawn) { drawn = window.innerWidth; draw(); } });
})();
