// Elements, numbers as text, scales: what every other file uses.
//
// The files of this folder are one module: explorer.py joins base and axes, a file for each kind of
// panel, and the rest. It leaves out indentation and whole-line comments, so no string may span
// lines. No imports and no network: the module runs from a blob: address. What a panel kind is, and
// how one is added, stands in panel.js.

const SVG = "http://www.w3.org/2000/svg";
const DASH = ["", "7 3", "2 2.5", "9 3 2 3", "4 2", ""];
const PANELS = {};

// Ids must differ between explorers also where each imports its own copy of this module, as in
// JupyterLab.
const instance = Math.random().toString(36).slice(2, 8);
let ids = 0;
const newId = () => `lx-${instance}-${++ids}`;

// ---- elements ----

function put(element, attributes) {
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  return element;
}

function svg(name, attributes, parent) {
  const element = put(document.createElementNS(SVG, name), attributes);
  if (parent) parent.append(element);
  return element;
}

function html(name, properties, ...children) {
  const element = document.createElement(name);
  for (const key in properties) {
    const value = properties[key];
    if (key.startsWith("aria")) element.setAttribute("aria-" + key.slice(4).toLowerCase(), value);
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function text(parent, x, y, content, className = "", anchor = "middle") {
  const element = svg("text", { x, y, class: className, "text-anchor": anchor }, parent);
  element.textContent = content;
  return element;
}

const path = (parent, name, d = "", more) => svg("path", { class: name, d, ...more }, parent);
const shape = (element, d) => element.setAttribute("d", d);
const moveTo = (element, x, y = 0) =>
  element.setAttribute("transform", `translate(${px(x)} ${px(y)})`);
const color = (k) => `var(--lx-${k})`;
const tint = (element, fill) => {
  element.style.fill = fill;
  return element;
};

// ---- numbers and words ----

const raised = (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)];
const superscript = (n) => [...String(n)].map(raised).join("");
const minus = (t) => t.replace("-", "−");
const power = (k) => (k === 0 ? "1" : k === 1 ? "10" : "10" + superscript(k));

function number(v, digits = 3) {
  const size = Math.abs(v);
  if (!size) return "0";
  if (size >= 1e-3 && size < 1e5) return minus(String(+v.toPrecision(digits)));
  const [mantissa, exponent] = v.toExponential(digits - 1).split("e");
  const factor = +mantissa === 1 ? "" : minus(String(+mantissa)) + "·";
  return factor + "10" + superscript(+exponent);
}

const short = (v) => number(v); // for lists, which would give it a second argument
// For addresses and screen readers: no superscripts.
const plain = (v, digits = 3) => String(+v.toPrecision(digits));
const percent = (v) => minus(plain(100 * v)) + " %";
const count = (n) => n.toLocaleString("en");
const list = (a) => (a.length < 2 ? a.join("") : a.slice(0, -1).join(", ") + " and " + a.at(-1));
// "λ (weight decay)" without what stands in brackets
const bare = (t) => t.replace(/ *\(.*\)$/, "");

function tellNonzero(values, noun, groups) {
  const total = values.length;
  const nonzero = values.filter(Boolean).length;
  if (nonzero === total) return `All ${total} ${noun} are nonzero, none is exactly 0.`;
  return `${nonzero} of ${total} ${noun} are nonzero${groups}, ${total - nonzero} exactly 0.`;
}

// ---- widths of text ----

let family = "sans-serif";
const pen = document.createElement("canvas").getContext("2d");

function wide(t, bold) {
  pen.font = `${bold ? 600 : 400} 12px ${family}`;
  return pen.measureText(t).width;
}

const widest = (texts) => Math.max(0, ...texts.map((t) => wide(t)));

// ---- scales and ticks ----

const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
// Marks of an axis: places and texts.
const numbered = (scale, values) => values.map((v) => [scale(v), number(v)]);
// One decimal of a pixel is finer than any screen.
const px = (v) => v.toFixed(1);

function linear(d0, d1, r0, r1) {
  return (v) => r0 + ((v - d0) / (d1 - d0 || 1)) * (r1 - r0);
}

// About n round numbers.
function ticks(low, high, n) {
  const raw = (high - low) / n;
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = decade * [1, 2, 5, 10].find((m) => m * decade >= raw * 0.999);
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    out.push(+(k * step).toPrecision(12));
  }
  return out;
}

// Powers of ten between two logarithms, at most n; less than a decade has 1, 2 and 5, or its ends.
function logTicks(low, high, n) {
  const first = Math.ceil(low - 1e-9);
  const last = Math.floor(high + 1e-9);
  const out = [];
  if (last - first < 1) {
    for (let k = Math.floor(low); k <= high; k++) {
      for (const m of [1, 2, 5]) {
        const log = k + Math.log10(m);
        if (log >= low && log <= high) out.push(m * 10 ** k);
      }
    }
    if (out.length > 1) return out.map((v) => [v, number(v)]);
    return [low, high].map((log) => [10 ** log, number(10 ** log, 2)]);
  }
  for (let k = first; k <= last; k += Math.ceil((last - first + 1) / n)) {
    out.push([10 ** k, power(k)]);
  }
  return out;
}

// Limits of an axis: those that were asked for, or those of the values with some room.
function range(spec, values) {
  if (spec.ylim) return spec.ylim;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.06 || Math.abs(high) || 1;
  return [low - room, high + room];
}

const leastBy = (f, items) => items.reduce((best, item) => (f(item) < f(best) ? item : best));

// Makes a function of i that computes each value once.
function once(make) {
  const kept = [];
  return (i) => (kept[i] ??= make(i));
}

// ---- shapes ----

function disc(x, y, r) {
  return `M${px(x - r)} ${px(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
}

function polyline(n, x, y) {
  let d = "";
  for (let k = 0; k < n; k++) d += (k ? "L" : "M") + px(x(k)) + " " + px(y(k));
  return d;
}

function cross(x, y, r) {
  return `M${px(x - r)} ${px(y - r)}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
}

function starShape(x, y, r) {
  const radius = (k) => (k % 2 ? 0.42 : 1) * r;
  const angle = (k) => (k * Math.PI) / 5;
  const across = (k) => x + radius(k) * Math.sin(angle(k));
  const down = (k) => y - radius(k) * Math.cos(angle(k));
  return polyline(10, across, down) + "Z";
}
