// λ explorer, front end (an anywidget module). No imports and no network: it runs from a blob: address.
// Python sends one spec per panel and one buffer with all numbers. A panel's function builds what stays for a given
// width and returns a function that draws the rest at grid position i and says in words what is seen there.
// The file is sent without indentation and whole-line comments, so no string may span lines.
const NS = "http://www.w3.org/2000/svg";
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
const DASH = ["", "7 3", "2 2.5", "9 3 2 3", "4 2", ""];
let family = "sans-serif";
const pen = document.createElement("canvas").getContext("2d");
// ids must differ between explorers also where each one imports its own copy of this module (JupyterLab)
const tag = Math.random().toString(36).slice(2, 8);
let ids = 0;
const newId = () => `lx-${tag}-${++ids}`;

// ---- elements, text, scales -------------------------------------------------------------------------------------
function s(tag, attrs, parent) {
  const e = document.createElementNS(NS, tag);
  for (const k in attrs) e.setAttribute(k, attrs[k]);
  if (parent) parent.append(e);
  return e;
}
function h(tag, props, ...kids) {
  const e = document.createElement(tag);
  for (const k in props) {
    if (k.startsWith("aria")) e.setAttribute("aria-" + k.slice(4).toLowerCase(), props[k]);
    else k in e ? (e[k] = props[k]) : e.setAttribute(k, props[k]);
  }
  e.append(...kids);
  return e;
}
const put = (e, attrs) => { for (const k in attrs) e.setAttribute(k, attrs[k]); };
const text = (parent, x, y, t, cls = "", anchor = "middle") => {
  const e = s("text", { x, y, class: cls, "text-anchor": anchor }, parent);
  e.textContent = t;
  return e;
};
const sup = (n) => [...String(n)].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");
const minus = (t) => t.replace("-", "−");
const power = (k) => (k === 0 ? "1" : k === 1 ? "10" : "10" + sup(k));
function fmt(v, n = 3) {
  const a = Math.abs(v);
  if (!a) return "0";
  if (a >= 1e-3 && a < 1e5) return minus(String(+v.toPrecision(n)));
  const [m, e] = v.toExponential(n - 1).split("e");
  return (+m === 1 ? "" : minus(String(+m)) + "·") + "10" + sup(+e);
}
const plain = (v) => String(+v.toPrecision(3));
const count = (n) => n.toLocaleString("en");
const wide = (t, bold) => { pen.font = `${bold ? 600 : 400} 12px ${family}`; return pen.measureText(t).width; };
const clamp = (v, lo, hi) => Math.min(Math.max(v, lo), hi);
const lin = (d0, d1, r0, r1) => (v) => r0 + ((v - d0) / (d1 - d0 || 1)) * (r1 - r0);
const f1 = (v) => v.toFixed(1);
const color = (k) => `var(--lx-${k})`;
const tint = (e, c) => { e.style.fill = c; return e; };
function ticks(lo, hi, n) {
  const raw = (hi - lo) / n, e = 10 ** Math.floor(Math.log10(raw)), step = e * [1, 2, 5, 10].find((m) => m * e >= raw * 0.999);
  const out = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + step * 1e-9; k++) out.push(+(k * step).toPrecision(12));
  return out;
}
function logTicks(lo, hi, n) {
  const a = Math.ceil(lo - 1e-9), b = Math.floor(hi + 1e-9), out = [];
  if (b - a < 1) {
    for (let k = Math.floor(lo); k <= hi; k++) for (const m of [1, 2, 5]) if (k + Math.log10(m) >= lo && k + Math.log10(m) <= hi) out.push(m * 10 ** k);
    if (out.length > 1) return out.map((v) => [v, fmt(v)]);
    return [[10 ** lo, fmt(10 ** lo, 2)], [10 ** hi, fmt(10 ** hi, 2)]];
  }
  for (let k = a; k <= b; k += Math.ceil((b - a + 1) / n)) out.push([10 ** k, power(k)]);
  return out;
}
// moves labels apart that would overlap; returns their places in the given order
function apart(ys, gap, lo, hi) {
  const order = ys.map((_, k) => k).sort((a, b) => ys[a] - ys[b]), out = [...ys];
  order.forEach((k, n) => { out[k] = Math.max(out[k], n ? out[order[n - 1]] + gap : lo); });
  for (let n = order.length - 1, top = hi; n >= 0; n--) top = (out[order[n]] = Math.min(out[order[n]], top)) - gap;
  return out;
}
const disc = (x, y, r) => `M${f1(x - r)} ${f1(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
const polyline = (n, x, y) => { let d = ""; for (let k = 0; k < n; k++) d += (k ? "L" : "M") + f1(x(k)) + " " + f1(y(k)); return d; };
// makes a function of i that computes each value once
const once = (make) => { const kept = []; return (i) => (kept[i] ??= make(i)); };
// group separators in lists: "a, b and c"
const list = (a) => (a.length < 2 ? a.join("") : a.slice(0, -1).join(", ") + " and " + a.at(-1));

// ---- frame and axes ---------------------------------------------------------------------------------------------
// the plotting box, with room for tick labels at the left and for `right` pixels of labels
const box = (f, labels, right = 12) => ({ l: Math.ceil(Math.max(14, ...labels.map(wide))) + 9, r: f.W - right, t: 24, b: f.H - 38 });
function yAxis(f, B, marks, label, grid = true) {
  for (const [y, t] of marks) {
    if (grid) s("path", { class: "grid", d: `M${B.l} ${f1(y)}H${B.r}` }, f.svg);
    text(f.svg, B.l - 7, y + 4, t, "tick", "end");
  }
  if (label) text(f.svg, 1, 12, label, "label", "start");
}
function xAxis(f, B, marks, label, from = B.l) {
  s("path", { class: "axis", d: `M${from} ${B.b}H${B.r}` + marks.map(([x]) => `M${f1(x)} ${B.b}v4`).join("") }, f.svg);
  let end = -9;
  for (const [x, t] of marks) {
    const w = wide(t) / 2, at = clamp(x, w, f.W - w);
    if (at - w < end + 5) continue;
    end = at + w;
    text(f.svg, at, B.b + 17, t, "tick");
  }
  if (label) text(f.svg, (from + B.r) / 2, f.H - 4, label, "label");
}
// places on a log axis; λ = 0 stands at the left, behind a break
function lamScale(lams, r0, r1) {
  const z = lams[0] === 0 ? 1 : 0, g = lams.map((v) => Math.log10(v)), at = lin(g[z], g.at(-1), r0 + (z ? 30 : 0), r1);
  return { z, at, x: g.map((v, i) => (z && !i ? r0 : at(v))), marks: (n) => [...(z ? [[r0, "0"]] : []), ...logTicks(g[z], g.at(-1), n).map(([v, t]) => [at(Math.log10(v)), t])] };
}
// the panel itself is a slider for the mouse and the finger (the keyboard has the real one); x: places of the grid
function scrub(f, x, ctx) {
  const go = (ev) => {
    const r = f.svg.getBoundingClientRect(), px = ((ev.clientX - r.left) / r.width) * f.W;
    let k = 0;
    x.forEach((u, i) => { if (Math.abs(u - px) < Math.abs(x[k] - px)) k = i; });
    ctx.set(k);
  };
  f.svg.classList.add("scrub");
  f.svg.onpointerdown = (ev) => { if (ev.button === 0) { f.svg.setPointerCapture(ev.pointerId); go(ev); } };
  f.svg.onpointermove = (ev) => { if (f.svg.hasPointerCapture(ev.pointerId)) go(ev); };
}
const lamBreak = (f, x, y) => s("path", { class: "break", d: `M${f1(x)} ${y + 4}l4 -8m4 0l-4 8` }, f.svg);
const lamTicks = (B) => clamp(Math.floor((B.r - B.l) / 44), 2, 9);
function lamAxis(f, B, ctx) {
  const sc = lamScale(ctx.lams, B.l + 5, B.r - 5);
  xAxis(f, B, sc.marks(lamTicks(B)), ctx.label);
  if (sc.z) lamBreak(f, B.l + 16, B.b);
  scrub(f, sc.x, ctx);
  return sc.x;
}
const cursor = (f, B) => { const e = s("path", { class: "cursor", d: `M0 ${B.t - 4}V${B.b}` }, f.svg); return (x) => e.setAttribute("transform", `translate(${f1(x)})`); };
const clipTo = (f, B) => { const c = s("clipPath", { id: newId() }, f.svg); s("rect", { x: B.l, y: B.t - 5, width: Math.max(B.r - B.l, 0), height: B.b - B.t + 5 }, c); return s("g", { "clip-path": `url(#${c.id})` }, f.svg); };
function range(p, values, pad = 0.06) {
  if (p.ylim) return p.ylim;
  let lo = Infinity, hi = -Infinity;
  for (const v of values) { if (v < lo) lo = v; if (v > hi) hi = v; }
  const room = (hi - lo) * pad || Math.abs(hi) || 1;
  return [lo - room, hi + room];
}

// the 256 codes of a field stand for 2p - 1, finest around the boundary (see field_panel)
const MARGIN = Float32Array.from({ length: 256 }, (_, u) => { const t = (u - 127.5) / 127.5; return t * Math.abs(t); });

// colours of a heat map: close to cividis, even in lightness and the same for all kinds of colour vision
const RAMP = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 175, 111], [253, 231, 55]];
const ramp = (t) => { const k = Math.min((t * 4) | 0, 3), u = t * 4 - k; return RAMP[k].map((c, j) => Math.round(c + u * (RAMP[k + 1][j] - c))); };
// black or white, whichever has the higher contrast
const ink = (c) => (c.reduce((t, v, j) => t + [0.2126, 0.7152, 0.0722][j] * (v / 255) ** 2.2, 0) > 0.179 ? "#000" : "#fff");
const starry = (x, y, r) => polyline(10, (k) => x + (k % 2 ? 0.42 : 1) * r * Math.sin((k * Math.PI) / 5), (k) => y - (k % 2 ? 0.42 : 1) * r * Math.cos((k * Math.PI) / 5)) + "Z";
const cross = (x, y, r) => `M${f1(x - r)} ${f1(y - r)}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
const bare = (t) => t.replace(/ *\(.*\)$/, "");

// ---- panels -----------------------------------------------------------------------------------------------------
const PANELS = {
  hist(p, a, ctx, f) {
    const c = a.counts, z = a.zeros, n = c.shape[1], e = p.edges, sum = (i) => { let t = 0; for (let k = 0; k < n; k++) t += c[i * n + k]; return t; };
    let top = 2;
    for (const v of c) if (v > top) top = v;
    if (z) for (const v of z) if (v > top) top = v;
    const lo = Math.log10(0.6), hi = Math.log10(top * 1.9), yt = logTicks(0, hi, 4).map(([v]) => v).filter((v) => v >= 1);
    const B = box(f, yt.map(count)), L = B.l + (z ? 66 : 0), y0 = lin(lo, hi, B.b, B.t), y = (v) => y0(Math.log10(v)), x = lin(e[0], e[n], L, B.r);
    yAxis(f, B, yt.map((v) => [y(v), count(v)]), `number of ${p.noun}, log axis`);
    xAxis(f, B, ticks(e[0], e[n], (B.r - L) / 60).map((v) => [x(v), fmt(v)]), p.xlabel, L);
    const bars = once((i) => { let d = ""; for (let k = 0; k < n; k++) { const v = c[i * n + k]; if (v) d += `M${f1(x(e[k]) + 0.3)} ${B.b}V${f1(y(v))}H${f1(x(e[k + 1]) - 0.3)}V${B.b}Z`; } return d; });
    const path = s("path", { fill: color(1) }, f.svg);
    if (p.ghost) {
      let d = `M${f1(L)} ${B.b}`;
      for (let k = 0; k < n; k++) d += `V${f1(c[k] ? y(c[k]) : B.b)}H${f1(x(e[k + 1]))}`;
      s("path", { class: "ghost", d: d + `V${B.b}` }, f.svg);
      const t = `outline: ${ctx.sign} = ${fmt(ctx.lams[0])}`;
      if (wide(t) + 190 < f.W) text(f.svg, B.r, 12, t, "label", "end");
    }
    let bar, num;
    if (z) {
      const m = B.l + 29;
      s("path", { class: "axis", d: `M${B.l} ${B.b}h58` }, f.svg);
      bar = s("path", { fill: color(2) }, f.svg);
      num = text(f.svg, m, 0, "", "strong");
      tint(num, color(2));
      text(f.svg, m, B.b + 17, "exactly 0", "tick");
      bar.d = (v) => (v ? `M${m - 12} ${B.b}V${f1(y(v))}h24V${B.b}Z` : "");
    }
    return (i) => {
      path.setAttribute("d", bars(i));
      if (!z) return `${count(sum(i))} ${p.noun}.`;
      bar.setAttribute("d", bar.d(z[i]));
      num.textContent = count(z[i]);
      num.setAttribute("y", f1((z[i] ? y(z[i]) : B.b) - 5));
      return `${count(z[i])} of ${count(sum(i) + z[i])} ${p.noun} are exactly 0.`;
    };
  },

  curves(p, a, ctx, f) {
    const v = a.y, [S, , L] = v.shape, at = (j, r, i) => v[(j * 3 + r) * L + i], g = p.logy ? Math.log10 : (u) => u, inv = p.logy ? (u) => 10 ** u : (u) => u;
    const show = p.percent ? (u) => minus(String(+(100 * u).toPrecision(3))) + " %" : fmt;
    const [lo, hi] = p.ylim ? p.ylim.map(g) : range(p, v.map(g)), yt = p.logy ? logTicks(lo, hi, 5).map(([u]) => [u, fmt(u)]) : ticks(lo, hi, 4).map((u) => [u, show(u)]);
    const B = box(f, yt.map((t) => t[1]), 12 + Math.max(...p.names.map((t) => wide(t, true)))), y0 = lin(lo, hi, B.b, B.t), y = (u) => y0(g(u));
    yAxis(f, B, yt.map(([u, t]) => [y(u), t]), p.ylabel);
    const x = lamAxis(f, B, ctx), area = clipTo(f, B), ends = apart(p.names.map((_, j) => y(at(j, 0, L - 1)) + 4), 14, B.t + 4, B.b);
    p.names.forEach((name, j) => {
      const c = color(p.colors[j]);
      if (p.band[j]) s("path", { d: polyline(L, (k) => x[k], (k) => y(at(j, 1, k))) + polyline(L, (k) => x[L - 1 - k], (k) => y(at(j, 2, L - 1 - k))).replace("M", "L") + "Z", fill: c, class: "band" }, area);
      s("path", { class: "line", d: polyline(L, (k) => x[k], (k) => y(at(j, 0, k))), stroke: c, "stroke-dasharray": DASH[j % 6] }, area);
      tint(text(f.svg, B.r + 4, ends[j], name, "strong", "start"), c);
    });
    if (p.band.some(Boolean) && wide(p.spread) + wide(p.ylabel) + 20 < f.W) text(f.svg, f.W, 12, p.spread, "label", "end");
    const b = p.best;
    if (b) {
      const bx = x[b.at], by = y(at(b.series, 0, b.at)), c = color(p.colors[b.series]), w = wide(b.label, true) / 2;
      s("path", { d: `M${f1(bx)} ${f1(by)}V${B.b}`, stroke: c, class: "best" }, f.svg);
      s("circle", { cx: bx, cy: by, r: 6, stroke: c, class: "ring" }, f.svg);
      // the label stands near the mark, where it hides least of the curves
      let place, least = Infinity;
      for (const dy of [22, -13, 38, -30, 56, -48]) for (const dx of [0, -w - 8, w + 8]) {
        const u = clamp(bx + dx, B.l + w + 2, B.r - w), v = by + dy;
        let hidden = v > B.b - 6 || v < B.t + 8 ? 99 : Math.abs(dy) / 400;
        p.names.forEach((_, j) => { for (let k = 0; k < 4 * L - 4; k++) { const i = k >> 2, t = (k % 4) / 4, mix = (a, b) => a + t * (b - a); if (Math.abs(mix(x[i], x[i + 1]) - u) < w + 4 && Math.abs(mix(y(at(j, 0, i)), y(at(j, 0, i + 1))) - v + 4) < 10) hidden++; } });
        if (hidden < least) { least = hidden; place = [u, v]; }
      }
      tint(text(f.svg, ...place, b.label, "strong halo"), c);
    }
    const cur = cursor(f, B), dots = p.names.map((_, j) => s("circle", { r: 4.5, fill: color(p.colors[j]), class: "dot" }, area));
    return (i) => {
      cur(x[i]);
      dots.forEach((e, j) => put(e, { cx: f1(x[i]), cy: f1(y(at(j, 0, i))) }));
      const said = p.names.map((name, j) => `${name}: ${show(at(j, 0, i))}`).join(", ");
      return said + (b ? i === b.at ? `. This is the ${b.label}.` : `; ${b.label}: ${fmt(ctx.lams[b.at])}.` : ".");
    };
  },

  paths(p, a, ctx, f) {
    const v = a.y, [L, P] = v.shape, [lo, hi] = range(p, v), yt = ticks(lo, hi, 4);
    const B = box(f, yt.map((u) => fmt(u))), y = lin(lo, hi, B.b, B.t);
    yAxis(f, B, yt.map((u) => [y(u), fmt(u)]), p.ylabel);
    const x = lamAxis(f, B, ctx), area = clipTo(f, B), many = p.names.map((_, g) => crowd(p, g));
    s("path", { class: "zero", d: `M${B.l} ${f1(y(0))}H${B.r}` }, area);
    const cur = cursor(f, B), dots = [];
    // the first group is drawn last, on top
    for (let gi = p.names.length - 1; gi >= 0; gi--) {
      let d = "";
      for (let k = 0; k < P; k++) if (p.group[k] === gi) d += polyline(L, (i) => x[i], (i) => y(v[i * P + k]));
      s("path", { class: many[gi] ? "line hair" : "line thin", d, stroke: color(p.colors[gi]), "stroke-dasharray": many[gi] ? "" : DASH[gi % 6] }, area);
      dots[gi] = s("path", { fill: color(p.colors[gi]), class: many[gi] ? "" : "dot" }, area);
    }
    const hollow = s("path", { class: "ring small" }, area), r = P > 40 ? 2 : 3;
    const tell = groupLegend(p, f);
    return (i) => {
      cur(x[i]);
      const d = p.names.map(() => "");
      let none = "";
      for (let k = 0; k < P; k++) { const u = v[i * P + k]; if (u) d[p.group[k]] += disc(x[i], y(u), many[p.group[k]] ? 1.5 : r); else none = disc(x[i], y(0), r + 0.5); }
      dots.forEach((e, k) => e.setAttribute("d", d[k]));
      hollow.setAttribute("d", none);
      return tell(v, i, P);
    };
  },

  bars(p, a, ctx, f) {
    const v = a.y, [L, P] = v.shape, every = [0, ...(p.truth || [])];
    const [lo, hi] = range(p, [...v, ...every]), yt = ticks(lo, hi, 4), B = box(f, yt.map((u) => fmt(u)));
    let slot = (B.r - B.l) / P;
    const lw = p.labels ? Math.max(...p.labels.map(wide)) : 0, slant = lw > slot - 3;
    if (!p.labels || slot <= 9) B.b = f.H - (p.xlabel ? 24 : 10);
    else if (slant) {
      B.b = Math.max(B.t + 70, f.H - 26 - lw * 0.72 - (p.xlabel ? 10 : 0));
      B.l = Math.max(B.l, lw * 0.72 - slot / 2 + 6);
      slot = (B.r - B.l) / P;
    }
    const y = lin(lo, hi, B.b, B.t), x = (k) => B.l + slot * (k + 0.5), bw = Math.min(slot * 0.72, 26) / 2;
    yAxis(f, B, yt.map((u) => [y(u), fmt(u)]), p.ylabel);
    const area = clipTo(f, B);
    if (p.labels && slot > 9) p.labels.forEach((t, k) => { const e = text(f.svg, x(k), B.b + 16, t, "tick", slant ? "end" : "middle"); if (slant) e.setAttribute("transform", `rotate(-46 ${f1(x(k))} ${f1(B.b + 12)})`); });
    if (p.xlabel) text(f.svg, (B.l + B.r) / 2, f.H - 4, p.xlabel, "label");
    const made = p.names.map((_, g) => s("path", { fill: color(p.colors[g]) }, area));
    if (p.truth) s("path", { class: "truth", d: p.truth.map((t, k) => `M${f1(x(k) - slot * 0.42)} ${f1(y(t))}h${f1(slot * 0.84)}`).join("") }, area);
    s("path", { class: "zero", d: `M${B.l} ${f1(y(0))}H${B.r}` }, f.svg);
    const hollow = s("path", { class: "ring small" }, f.svg), r = clamp(slot / 3, 2, 4);
    const tell = groupLegend(p, f, p.truth ? "true value" : "", true);
    const shape = once((i) => {
      const d = p.names.map(() => ""), y0 = f1(y(0));
      let none = "";
      for (let k = 0; k < P; k++) { const u = v[i * P + k]; if (u) d[p.group[k]] += `M${f1(x(k) - bw)} ${y0}V${f1(y(u))}h${f1(2 * bw)}V${y0}Z`; else none += disc(x(k), y(0), r); }
      return [d, none];
    });
    return (i) => {
      const [d, none] = shape(i);
      made.forEach((e, k) => e.setAttribute("d", d[k]));
      hollow.setAttribute("d", none);
      return tell(v, i, P);
    };
  },

  fit(p, a, ctx, f) {
    const q = a.y, n = q.shape[1], yt = ticks(...p.ylim, 4), xs = p.x, B = box(f, yt.map((u) => fmt(u)));
    const x = lin(xs[0], xs[n - 1], B.l, B.r), y = lin(...p.ylim, B.b, B.t);
    yAxis(f, B, yt.map((u) => [y(u), fmt(u)]), p.ylabel);
    xAxis(f, B, ticks(xs[0], xs[n - 1], (B.r - B.l) / 70).map((u) => [x(u), fmt(u)]), p.xlabel);
    const area = clipTo(f, B);
    if (p.truth) s("path", { class: "line", stroke: color(6), "stroke-dasharray": DASH[1], d: polyline(n, (k) => x(xs[k]), (k) => y(p.truth[k])) }, area);
    const line = s("path", { class: "line bold", stroke: color(1) }, area);
    for (const [u, v] of p.points) s("circle", { cx: f1(x(u)), cy: f1(y(v)), r: 3.6, class: "datum" }, area);
    const [data, fit, truth] = p.names;
    f.legend([p.points.length && ["circle", "currentColor", data], ["line", color(1), fit], p.truth && ["line", color(6), truth, DASH[1]]]);
    const path = once((i) => polyline(n, (k) => x(xs[k]), (k) => y(p.offset + p.step * q[i * n + k])));
    return (i) => {
      line.setAttribute("d", path(i));
      return p.rms ? `Root mean square distance between ${fit} and ${truth}: ${fmt(p.rms[i])}.` : "";
    };
  },

  field(p, a, ctx, f) {
    const q = a.code, [, m, n] = q.shape, [x0, x1, y0, y1] = p.extent, yt = ticks(y0, y1, 4), B = box(f, yt.map((u) => fmt(u)));
    const x = lin(x0, x1, B.l, B.r), y = lin(y0, y1, B.b, B.t), at = (i, r, k) => MARGIN[q[(i * m + r) * n + k]];
    // a small canvas under the drawing, enlarged smoothly by the browser
    const cv = h("canvas", { width: n, height: m, ariaHidden: "true" }), pc = (u, w) => (100 * u) / w + "%";
    Object.assign(cv.style, { left: pc(B.l, f.W), width: pc(B.r - B.l, f.W), top: pc(B.t, f.H), height: pc(B.b - B.t, f.H) });
    f.stage.prepend(cv);
    const to = cv.getContext("2d"), img = to.createImageData(n, m);
    yAxis(f, B, yt.map((u) => [y(u), fmt(u)]), p.ylabel, false);
    xAxis(f, B, ticks(x0, x1, (B.r - B.l) / 70).map((u) => [x(u), fmt(u)]), p.xlabel);
    const edge = s("path", { class: "boundary" }, f.svg);
    for (const [u, v, k] of p.points) s(k ? "rect" : "circle", { ...(k ? { x: f1(x(u) - 3.4), y: f1(y(v) - 3.4), width: 6.8, height: 6.8 } : { cx: f1(x(u)), cy: f1(y(v)), r: 3.8 }), fill: color(k + 1), class: "dot" }, f.svg);
    f.legend([["circle", color(1), p.classes[0]], ["rect", color(2), p.classes[1]], ["line", "currentColor", "boundary"]]);
    const line = once((i) => contour((r, k) => at(i, r, k), m, n, lin(0, n - 1, B.l, B.r), lin(0, m - 1, B.b, B.t)));
    const wrong = once((i) => p.points.filter(([u, v, k]) => {
      const c = clamp(((u - x0) / (x1 - x0)) * (n - 1), 0, n - 1.001), r = clamp(((v - y0) / (y1 - y0)) * (m - 1), 0, m - 1.001), j = c | 0, o = r | 0, s0 = c - j, t0 = r - o;
      return (at(i, o, j) * (1 - s0) * (1 - t0) + at(i, o, j + 1) * s0 * (1 - t0) + at(i, o + 1, j) * (1 - s0) * t0 + at(i, o + 1, j + 1) * s0 * t0 > 0) !== !!k;
    }).length);
    return (i) => {
      const [c0, c1] = ctx.rgb();
      for (let r = 0, j = 0; r < m; r++) for (let k = 0; k < n; k++, j += 4) {
        const u = at(i, m - 1 - r, k), c = u > 0 ? c1 : c0;
        img.data[j] = c[0]; img.data[j + 1] = c[1]; img.data[j + 2] = c[2]; img.data[j + 3] = 8 + Math.abs(u) * 105;
      }
      to.putImageData(img, 0, 0);
      edge.setAttribute("d", line(i));
      return p.points.length ? `${wrong(i)} of ${p.points.length} points are on the wrong side.` : "";
    };
  },

  heatmap(p, a, ctx, f) {
    const v = a.z, [L, R] = v.shape, lams = ctx.lams, gap = lams[0] === 0 ? 9 : 0, at = (i, r) => v[i * R + r], [lo, hi] = p.zlim;
    const digits = (u) => { const t = u.toPrecision(p.digits); return /e/.test(t) || (u && Math.abs(u) < 1e-3) ? fmt(u, p.digits) : minus(t); };
    const show = p.percent ? (u) => digits(100 * u) + " %" : digits, zt = ticks(lo, hi, 4).map((u) => [u, p.percent ? fmt(100 * u) + " %" : fmt(u)]);
    const B = box(f, p.ys.map((u) => fmt(u)), 26 + Math.max(...zt.map((t) => wide(t[1])))), w = (B.r - B.l - gap) / L, d = (B.b - B.t) / R;
    const x = (k) => B.l + (k + 0.5) * w + (k < 1 ? 0 : gap), y = (r) => B.b - (r + 0.5) * d, xs = lams.map((_, i) => x(i));
    yAxis(f, B, p.ys.map((u, r) => [y(r), fmt(u)]).filter((_, r) => r % Math.ceil(15 / d) === 0), p.ylabel, false);
    // a label for each column where they fit, else round numbers at their places between the columns
    const each = lams.map((u) => fmt(u, 2)), sc = lamScale(lams, 0, 1e3), place = (u) => { let k = 0; while (k < L - 2 && sc.x[k + 1] <= u + 1e-6) k++; return x(k + (u - sc.x[k]) / (sc.x[k + 1] - sc.x[k])); };
    xAxis(f, B, Math.max(...each.map(wide)) + 8 < w ? each.map((t, i) => [xs[i], t]) : sc.marks(lamTicks(B)).map(([u, t]) => [place(u), t]), p.xlabel || ctx.label);
    if (gap) lamBreak(f, B.l + w, B.b);
    scrub(f, xs, ctx);
    // numbers where they fit beside or below a mark
    const num = (u) => digits(p.percent ? 100 * u : u), tw = Math.max(...Array.from(v, (u) => (u === u ? wide(num(u)) : 0))), beside = w >= tw + 40, told = beside ? d >= 16 : w >= tw + 6 && d >= 34, dx = told && beside ? -tw / 2 - 11 : 0, dy = told && !beside ? -9 : 0, thin = w > 7 && d > 7 ? 1 : 0;
    let lost = "";
    for (let i = 0; i < L; i++) for (let r = 0; r < R; r++) {
      const u = at(i, r), c = ramp(clamp((u - lo) / (hi - lo), 0, 1)), none = u !== u;
      s("rect", { x: f1(xs[i] - w / 2), y: f1(y(r) - d / 2), width: f1(w - thin), height: f1(d - thin), ...(none ? { class: "lost" } : { fill: `rgb(${c})` }) }, f.svg);
      if (none) lost += cross(xs[i], y(r), Math.min(w, d, 14) * 0.3);
      else if (told) tint(text(f.svg, f1(xs[i]), f1(y(r) + 4 - dy), num(u)), ink(c));
    }
    s("path", { class: "cross", d: lost }, f.svg);
    // colour bar
    const G = s("linearGradient", { id: newId(), x1: 0, x2: 0, y1: 1, y2: 0 }, f.svg), zy = lin(lo, hi, B.b, B.t), b0 = B.r + 9;
    RAMP.forEach((c, k) => s("stop", { offset: k / 4, "stop-color": `rgb(${c})` }, G));
    s("rect", { x: b0, y: B.t, width: 9, height: B.b - B.t, fill: `url(#${G.id})` }, f.svg);
    for (const [u, t] of zt) text(f.svg, b0 + 13, zy(u) + 4, t, "tick", "start");
    // the names of both scales share a line where it is wide enough
    const apart = wide(p.ylabel) + wide(p.zlabel) + 20 < f.W;
    if (apart) text(f.svg, f.W, 12, p.zlabel, "label", "end");
    // what the slider moves: a frame around the column and a ring around the best of its cells
    const frame = s("g", {}, f.svg), [bi, br] = p.at || [], size = clamp(Math.min(w, d) * 0.4, 4, 7);
    for (const k of ["under", "over"]) s("rect", { x: f1(-w / 2 - 1), y: B.t - 1, width: f1(w + 1), height: B.b - B.t + 1, class: "frame " + k }, frame);
    const ring = s("g", {}, f.svg);
    if (p.best) {
      for (const k of ["under", "over"]) s("circle", { r: size, class: "halo-ring " + k }, ring);
      s("path", { class: "best-cell", d: starry(xs[bi] + dx, y(br) + dy, size) }, f.svg);
    }
    p.marks.forEach(([, i, r], k) => s("rect", { x: f1(xs[i] + (w > 26 ? w / 2 - 11 : -4)), y: f1(y(r) - (w > 26 ? d / 2 - 3 : 4)), width: 8, height: 8, fill: color(k + 2), class: "dot" }, f.svg));
    f.legend([!apart && ["rect", `rgb(${ramp(0.8)})`, `colour: ${p.zlabel}`], ...(p.best ? [["star", "currentColor", "best of all"], ["ring", "currentColor", `best for this ${ctx.sign}`]] : []), lost && ["cross", "currentColor", "diverged"], ...p.marks.map(([t], k) => ["rect", color(k + 2), t])], 1);
    const yn = bare(p.ylabel), zn = bare(p.zlabel), cell = (i, r) => `${yn} ${fmt(p.ys[r])}, ${at(i, r) === at(i, r) ? `${zn} ${show(at(i, r))}` : "diverged"}`;
    return (i) => {
      const rows = p.ys.map((_, r) => r), ok = rows.filter((r) => at(i, r) === at(i, r)).sort((r, q) => (at(i, r) - at(i, q)) * (p.best === "min" ? 1 : -1)), gone = rows.filter((r) => !ok.includes(r)), top = ok[0];
      frame.setAttribute("transform", `translate(${f1(xs[i])})`);
      put(ring, { transform: ok.length ? `translate(${f1(xs[i] + dx)} ${f1(y(top) + dy)})` : "", visibility: ok.length ? "visible" : "hidden" });
      const said = !ok.length ? `Diverged at every ${yn}.` : (p.best ? `Best ${cell(i, top)}` : `${zn[0].toUpperCase() + zn.slice(1)} from ${show(at(i, ok.at(-1)))} to ${show(at(i, top))}`) + (gone.length ? `; diverged at ${list(gone.map((r) => fmt(p.ys[r])))}.` : ".");
      const all = !p.best ? "" : bi === i ? " This is the best of all." : ` Best of all: ${ctx.sign} = ${fmt(lams[bi])}, ${cell(bi, br)}.`;
      return said + all + p.marks.filter((m) => m[1] === i).map(([t, , r]) => ` ${t}: ${cell(i, r)}.`).join("");
    };
  },

  // an unsupported weight under weight decay; the same as l2lab/budget.py
  budget(p, a, ctx, f) {
    const c = (f.kept.now ||= { ...p }), T = c.steps, m = c.optimizer === "sgd" ? c.momentum : 0, lrs = new Float64Array(T), sum = new Float64Array(T + 1);
    if (f.stage.firstChild === f.svg) f.stage.prepend(budgetForm(c, f));
    for (let t = 0; t < T; t++) sum[t + 1] = sum[t] + (lrs[t] = c.lr * (c.schedule === "cosine" ? 0.5 * (1 + Math.cos((Math.PI * t) / T)) : c.schedule === "linear" ? 1 - t / T : 1));
    const yt = logTicks(-8, 0, 5), B = box(f, yt.map((t) => t[1]), Math.max(12, wide(count(T)) / 2)), x = lin(0, T, B.l, B.r), y0 = lin(-8, 0, B.b, B.t), y = (u) => y0(Math.log10(clamp(u, 1e-9, 9)));
    yAxis(f, B, yt.map(([u, t]) => [y(u), t]), "share that is left, log axis");
    xAxis(f, B, ticks(0, T, (B.r - B.l) / 70).filter((u) => u % 1 === 0).map((u) => [x(u), count(u)]), "step");
    const LEVELS = [[1e-3, "1/1000: dead, B ≈ 7"], [1e-6, "10⁻⁶, B ≈ 14"]], area = clipTo(f, B);
    for (const [u] of LEVELS) s("path", { class: "level", d: `M${B.l} ${f1(y(u))}H${B.r}` }, area);
    const real = s("path", { class: "line bold", stroke: color(1) }, area), rule = s("path", { class: "line", stroke: color(2), "stroke-dasharray": DASH[1] }, area);
    for (const [u, t] of LEVELS) text(f.svg, B.l + 4, y(u) - 5, t, "label halo", "start");
    const dots = LEVELS.map(() => s("circle", { r: 4.5, fill: color(1), class: "dot" }, area));
    f.legend([["line", color(1), "step by step"], ["line", color(2), "e^(−B)", DASH[1]]]);
    const N = Math.min(T, 400), swings = (1 - Math.sqrt(m)) ** 2, limit = 2 * (1 + m), part = (u) => (u < 1e-30 ? "less than 10⁻³⁰" : u < 1e-3 ? fmt(u) : fmt(100 * u) + " %");
    const line = (u) => polyline(N + 1, (k) => x(Math.round((k * T) / N)), (k) => y(u(Math.round((k * T) / N))));
    const need = (Math.log(1e3) * (1 - m)) / sum[T];
    return (i) => {
      const l = ctx.lams[i], q = c.lr * l, budget = (l * sum[T]) / (1 - m), lost = q >= limit, left = lost ? [] : decay(lrs, l, m), from = LEVELS.map(([u]) => left.findIndex((v) => v < u));
      real.setAttribute("d", lost ? "" : line((t) => left[t]));
      rule.setAttribute("d", lost ? "" : line((t) => Math.exp((-l * sum[t]) / (1 - m))));
      dots.forEach((e, k) => put(e, { cx: f1(x(from[k])), cy: f1(y(LEVELS[k][0])), visibility: from[k] < 0 ? "hidden" : "visible" }));
      const when = (k) => (from[k] < 0 ? "not within these steps" : `from step ${count(from[k])}`);
      return `B = ${fmt(budget)}` + (lost
        ? `, but the decay diverges: learning rate · λ = ${fmt(q)} is not below ${fmt(limit)}.`
        : `: e^(−B) is ${part(Math.exp(-budget))}; step by step ${part(left[T])} is left after ${count(T)} steps.` + (q > swings ? ` The weight swings around 0, and e^(−B) does not hold: learning rate · λ = ${fmt(q)} is above ${fmt(swings)}.` : "") + ` Below 10⁻³: ${when(0)}; below 10⁻⁶: ${when(1)}.`)
        + ` λ needed for 10⁻³ in these steps: about ${fmt(need)}${c.lr * need > swings ? " (it would swing there: take more steps)" : ""}.`;
    };
  },

  geometry(p, a, ctx, f) {
    const [[ha, hb], [, hc]] = p.hessian, R = p.extent, B = box(f, ticks(-R, R, 4).map((u) => fmt(u)));
    const k = Math.min(B.r - B.l, B.b - B.t) / 2 / R, cx = (B.l + B.r) / 2, cy = (B.t + B.b) / 2, x = (u) => cx + u * k, y = (u) => cy - u * k;
    Object.assign(B, { l: x(-R), r: x(R), t: y(R), b: y(-R) });
    const marks = ticks(-R, R, 4);
    yAxis(f, B, marks.map((u) => [y(u), fmt(u)]), "", false);
    xAxis(f, B, marks.map((u) => [x(u), fmt(u)]), "");
    text(f.svg, B.r, B.b + 34, "w₁", "label", "end");
    text(f.svg, B.l - 4, B.t - 8, "w₂", "label", "end");
    const area = clipTo(f, { ...B, t: B.t + 5 });
    s("path", { class: "zero", d: `M${B.l} ${y(0)}H${B.r}M${x(0)} ${B.t}V${B.b}` }, area);
    const mid = (ha + hc) / 2, dd = Math.hypot((ha - hc) / 2, hb), th = 0.5 * Math.atan2(2 * hb, ha - hc), e1 = Math.sqrt(mid + dd), e2 = Math.sqrt(mid - dd), co = Math.cos(th), si = Math.sin(th);
    const loss = (u, w) => { const d0 = u[0] - w[0], d1 = u[1] - w[1]; return Math.sqrt(ha * d0 * d0 + 2 * hb * d0 * d1 + hc * d1 * d1); };
    const ellipse = (w, r) => polyline(73, (n) => x(w[0] + (r * Math.cos((n * Math.PI) / 36) * co) / e1 - (r * Math.sin((n * Math.PI) / 36) * si) / e2), (n) => y(w[1] + (r * Math.cos((n * Math.PI) / 36) * si) / e1 + (r * Math.sin((n * Math.PI) / 36) * co) / e2)) + "Z";
    const rings = s("path", { class: "contour" }, area);
    const KIND = { l2: ["Ridge", 1, ridge, (w) => disc(x(0), y(0), +(Math.hypot(...w) * k).toFixed(2))], l1: ["Lasso", 2, lasso, (w) => { const t = (Math.abs(w[0]) + Math.abs(w[1])) * k; return `M${f1(x(0) - t)} ${f1(y(0))}L${f1(x(0))} ${f1(y(0) - t)}L${f1(x(0) + t)} ${f1(y(0))}L${f1(x(0))} ${f1(y(0) + t)}Z`; }] };
    const drawn = p.norms.map((norm) => {
      const [name, c, solve, ball] = KIND[norm], col = color(c);
      return { name, solve, ball, set: s("path", { class: "ball", fill: col, stroke: col }, area), touch: s("path", { class: "touch", stroke: col }, area), path: s("path", { class: "line thin", stroke: col }, area), dot: s(norm === "l2" ? "circle" : "rect", { ...(norm === "l2" ? { r: 5.5 } : { x: -5, y: -5, width: 10, height: 10 }), fill: col, class: "dot" }, area) };
    });
    const star = s("path", { class: "star", d: "M-7 0H7M0 -7V7" }, area), name = text(f.svg, 0, 0, "w*", "strong halo", "start");
    f.legend([["line", color(6), "loss contours"], ...p.norms.map((q) => q === "l2" ? ["circle", color(1), "ridge ŵ on its ball"] : ["rect", color(2), "lasso ŵ on its diamond"]), ["plus", "currentColor", "w*, drag it"]]);
    // an HTML handle over the drawing: 44 pixels for the finger, keyboard, and a role that screen readers know
    const knob = h("div", { className: "lx-knob", tabIndex: 0, role: "slider", ariaLabel: "Minimum of the loss without penalty, w star. Arrow keys move it, Home puts it back", ariaValueMin: plain(-R), ariaValueMax: plain(R) });
    knob.setAttribute("aria-roledescription", "movable point");
    f.stage.append(knob);
    const go = (u, v, end) => ctx.setW([u, v].map((t) => +clamp(t, -R, R).toFixed(3)), end);
    const from = (ev, end) => { const r = f.svg.getBoundingClientRect(); go((((ev.clientX - r.left) / r.width) * f.W - cx) / k, -(((ev.clientY - r.top) / r.height) * f.H - cy) / k, end); };
    knob.onpointerdown = (ev) => { if (ev.button === 0) { knob.setPointerCapture(ev.pointerId); knob.focus(); ev.preventDefault(); } };
    knob.onpointermove = (ev) => { if (knob.hasPointerCapture(ev.pointerId)) from(ev, false); };
    knob.onpointerup = (ev) => from(ev, true);
    knob.onkeydown = (ev) => {
      const t = (R / 20) * (ev.shiftKey ? 0.1 : 1), w = ctx.w(), d = { ArrowLeft: [-t, 0], ArrowRight: [t, 0], ArrowUp: [0, t], ArrowDown: [0, -t] }[ev.key];
      if (d) go(w[0] + d[0], w[1] + d[1], true);
      else if (ev.key === "Home") go(...p.w_star, true);
      else return;
      ev.preventDefault();
    };
    let seen = "";
    return (i) => {
      const w = ctx.w(), moved = seen !== String(w);
      if (moved) {
        seen = String(w);
        put(star, { transform: `translate(${f1(x(w[0]))} ${f1(y(w[1]))})` });
        put(name, { x: f1(clamp(x(w[0]) + 9, B.l, B.r - 16)), y: f1(clamp(y(w[1]) - 8, B.t + 12, B.b)) });
        Object.assign(knob.style, { left: (100 * x(w[0])) / f.W + "%", top: (100 * y(w[1])) / f.H + "%" });
        put(knob, { "aria-valuenow": +w[0].toFixed(2), "aria-valuetext": `w star = ${w[0].toFixed(2)}, ${w[1].toFixed(2)}` });
        const top = loss([0, 0], w) || 1;
        rings.setAttribute("d", [0.25, 0.5, 0.75, 1, 1.25, 1.5].map((r) => ellipse(w, r * top)).join(""));
        for (const o of drawn) o.path.setAttribute("d", polyline(ctx.lams.length, (n) => x((o.at = o.solve(p.hessian, w, ctx.lams[n]))[0]), () => y(o.at[1])));
      }
      return drawn.map((o) => {
        const v = o.solve(p.hessian, w, ctx.lams[i]), none = ["w₁", "w₂"].filter((_, j) => v[j] === 0);
        o.set.setAttribute("d", o.ball(v));
        o.touch.setAttribute("d", ellipse(w, loss(v, w)));
        o.dot.setAttribute("transform", `translate(${f1(x(v[0]))} ${f1(y(v[1]))})`);
        return `${o.name}: ŵ = (${fmt(v[0])}, ${fmt(v[1])}), ${none.length ? `${list(none)} ${none.length > 1 ? "are" : "is"} exactly 0.` : "no weight is 0."}`;
      }).join(" ");
    };
  },
};

// the largest of several groups recedes when it has many members: hairlines, as dashes would only make a pattern
function crowd(p, g) {
  const size = p.names.map((_, j) => p.group.filter((k) => k === j).length);
  return size.length > 1 && size[g] > 8 && size[g] === Math.max(...size);
}
// legend of groups; returns what to say about the nonzero entries of each
function groupLegend(p, f, truth, bars) {
  const named = p.names.length > 1 || p.names[0] !== "", size = p.names.map((_, g) => p.group.filter((k) => k === g).length);
  f.legend([...(named ? p.names.map((t, g) => [bars ? "rect" : crowd(p, g) ? "hair" : "line", color(p.colors[g]), t, bars ? "" : DASH[g % 6]]) : []), truth && ["line", "currentColor", truth]]);
  return (v, i, P) => {
    const n = p.names.map(() => 0);
    for (let k = 0; k < P; k++) if (v[i * P + k]) n[p.group[k]]++;
    const all = n.reduce((x, y) => x + y, 0), some = named ? ` (${p.names.map((t, g) => `${t} ${n[g]} of ${size[g]}`).join(", ")})` : "";
    return all === P ? `All ${P} ${p.noun} are nonzero, none is exactly 0.` : `${all} of ${P} ${p.noun} are nonzero${some}, ${P - all} exactly 0.`;
  };
}
// the run of a budget panel; what is not valid is said, and the last valid run stays
function budgetForm(c, f) {
  const wrong = h("span", { className: "lx-wrong", role: "status", id: newId() }), fields = {};
  const RULES = { lr: ["Learning rate", (v) => v.lr > 0, "The learning rate must be above 0."], steps: ["Steps", (v) => v.steps >= 1 && v.steps <= 1e6 && v.steps % 1 === 0, "Steps must be a whole number from 1 to 1,000,000."], momentum: ["Momentum", (v) => v.optimizer !== "sgd" || (v.momentum >= 0 && v.momentum < 1), "Momentum must be at least 0 and below 1."], schedule: ["Schedule", ["constant", "cosine", "linear"]], optimizer: ["Optimizer", ["sgd", "adamw"], ["SGD", "AdamW"]] };
  const read = () => {
    const v = {}, bad = [];
    for (const k in fields) v[k] = fields[k].type === "number" ? fields[k].valueAsNumber : fields[k].value;
    for (const k of ["lr", "steps", "momentum"]) { const ok = RULES[k][1](v); fields[k].setAttribute("aria-invalid", !ok); if (!ok) bad.push(RULES[k][2]); }
    fields.momentum.disabled = v.optimizer !== "sgd";
    wrong.textContent = bad.length ? bad.join(" ") + " Drawn is the last valid run." : "";
    if (!bad.length) { f.kept.now = v; f.again(); }
  };
  const labels = Object.entries(RULES).map(([k, [name, choice, said]]) => {
    const now = c[k], e = (fields[k] = Array.isArray(choice) ? h("select", {}, ...choice.map((o, j) => new Option(Array.isArray(said) ? said[j] : o, o, o === now, o === now))) : h("input", { type: "number", min: 0, step: k === "steps" ? 1 : "any", value: now }));
    e.setAttribute("aria-describedby", wrong.id);
    e.oninput = read;
    return h("label", {}, name, e);
  });
  fields.momentum.disabled = c.optimizer !== "sgd";
  // no key may reach the notebook, where digits are commands
  return h("div", { className: "lx-form", role: "group", ariaLabel: "Run", onkeydown: (ev) => ev.stopPropagation() }, ...labels, wrong);
}
// share of the weight after each step, as torch.optim.SGD; of a swinging weight the largest share from a step on
function decay(lrs, l, m) {
  const T = lrs.length, out = new Float64Array(T + 1);
  let w = (out[0] = 1), v = 0;
  for (let t = 0; t < T && Math.abs(w) + Math.abs(v) > 1e-60; t++) { v = m * v + l * w; w -= lrs[t] * v; out[t + 1] = Math.abs(w); }
  for (let t = T; t--; ) out[t] = Math.max(out[t], out[t + 1]);
  return out;
}
function ridge([[a, b], [, c]], w, l) {
  const g0 = a * w[0] + b * w[1], g1 = b * w[0] + c * w[1], A = a + l, C = c + l, D = A * C - b * b;
  return [(C * g0 - b * g1) / D, (A * g1 - b * g0) / D];
}
// exact: compares the stationary points of all sign patterns
function lasso([[a, b], [, c]], w, l) {
  const g0 = a * w[0] + b * w[1], g1 = b * w[0] + c * w[1], D = a * c - b * b, soft = (g) => Math.sign(g) * Math.max(Math.abs(g) - l, 0);
  let best = [0, 0], least = Infinity;
  const t = [[0, 0], [soft(g0) / a, 0], [0, soft(g1) / c]];
  for (const s0 of [1, -1]) for (const s1 of [1, -1]) {
    const p0 = g0 - l * s0, p1 = g1 - l * s1, u = (c * p0 - b * p1) / D, v = (a * p1 - b * p0) / D;
    if (u * s0 > 0 && v * s1 > 0) t.push([u, v]);
  }
  for (const [u, v] of t) {
    const f = 0.5 * (a * u * u + 2 * b * u * v + c * v * v) - g0 * u - g1 * v + l * (Math.abs(u) + Math.abs(v));
    if (f < least) { least = f; best = [u || 0, v || 0]; }
  }
  return best;
}
// marching squares
function contour(z, m, n, X, Y) {
  let d = "";
  for (let r = 0; r < m - 1; r++) for (let k = 0; k < n - 1; k++) {
    const a = z(r, k), b = z(r, k + 1), c = z(r + 1, k + 1), e = z(r + 1, k), P = [];
    if (a * b < 0) P.push([k + a / (a - b), r]);
    if (b * c < 0) P.push([k + 1, r + b / (b - c)]);
    if (c * e < 0) P.push([k + e / (e - c), r + 1]);
    if (e * a < 0) P.push([k, r + a / (a - e)]);
    for (let j = 0; j + 1 < P.length; j += 2) d += `M${f1(X(P[j][0]))} ${f1(Y(P[j][1]))}L${f1(X(P[j + 1][0]))} ${f1(Y(P[j + 1][1]))}`;
  }
  return d;
}

const KEYS = { line: "M0 5H20", hair: "M0 2H20M0 5H20M0 8H20", circle: disc(10, 5, 4), rect: "M6 1h8v8h-8z", plus: "M4 5h12M10 -1v12", star: starry(10, 5, 6.5), ring: disc(10, 5, 5), cross: cross(10, 5, 4) };

// ---- one panel in the page --------------------------------------------------------------------------------------
function mount(p, arrays, ctx, kept) {
  const svg = s("svg", { role: "img", "aria-label": p.title }), stage = h("div", { className: "lx-stage" }, svg), note = h("p", { className: "lx-note" });
  const legend = h("div", { className: "lx-legend", ariaHidden: "true" });
  const fig = h("figure", { className: "lx-panel" }, h("figcaption", { textContent: p.title }), legend, stage, note);
  const f = { svg, stage, kept, W: 0, H: 0, again() { const w = f.W; f.W = 0; panel.layout(w); ctx.redraw(); }, legend(items, least = 2) {
    legend.replaceChildren();
    const told = items.filter(Boolean);
    for (const [mark, c, t, dash] of told.length >= least ? told : []) {
      const g = s("svg", { viewBox: "0 0 20 10", width: 20, height: 10, class: "key" });
      put(g, { style: `color:${c}` });
      s("path", { d: KEYS[mark], ...(mark === "hair" ? { stroke: "currentColor", fill: "none", opacity: 0.7 } : /line|plus|ring|cross/.test(mark) ? { stroke: "currentColor", "stroke-width": mark === "ring" || mark === "cross" ? 1.6 : 2.2, fill: "none", "stroke-dasharray": dash || "" } : { fill: "currentColor" }) }, g);
      legend.append(h("span", { className: "lx-item" }, g, t));
    }
  } };
  let draw = null;
  const panel = { fig, width: () => stage.clientWidth, layout(w) {
    if (!w || w === f.W) return;
    const share = { geometry: 0.9, field: 0.72, budget: 0.5 }[p.kind] || 0.64;
    f.W = w; f.H = Math.round(clamp(w * share, 210, p.kind === "geometry" ? 400 : 290));
    svg.replaceChildren(); stage.querySelectorAll("canvas, .lx-knob").forEach((e) => e.remove());
    put(svg, { viewBox: `0 0 ${f.W} ${f.H}` });
    draw = PANELS[p.kind](p, arrays, ctx, f);
  }, draw(i) {
    if (!draw) return "";
    const t = [draw(i), p.notes && p.notes[i]].filter(Boolean).join(" ");
    if (note.textContent !== t) { note.textContent = t; svg.setAttribute("aria-label", `${p.title}. ${t}`); }
    return t;
  } };
  return panel;
}

// ---- address: #name:lam=0.03;other:lam=1,w=1.2:0.4 (only on the static page) ------------------------------------
function readHash() {
  const out = new Map();
  let hash = "";
  try { hash = decodeURIComponent(location.hash.slice(1)); } catch { return out; }
  for (const part of hash.split(";")) {
    const m = /^([a-z][a-z0-9-]*):(lam=.+)$/.exec(part);
    if (m) out.set(m[1], Object.fromEntries(m[2].split(",").map((kv) => kv.split("="))));
  }
  return out;
}
const writeHash = (map) => "#" + [...map].map(([k, v]) => `${k}:` + Object.entries(v).map((kv) => kv.join("=")).join(",")).join(";");

function isDark() {
  const d = document.documentElement, b = document.body, told = d.dataset.theme || d.getAttribute("theme") || b.dataset.vscodeThemeKind;
  if (b.dataset.jpThemeLight) return b.dataset.jpThemeLight === "false";
  return told ? /dark|high-contrast$/.test(told) : matchMedia("(prefers-color-scheme: dark)").matches;
}
const ICON = { play: "M4 2.5v11l9-5.5z", pause: "M4 2.5h3v11H4zm5 0h3v11H9z", step: "M3 2.5v11l7-5.5zM11 2.5h2.5v11H11z" };

function render({ model, el }) {
  const still = model.isStatic === true, name = model.get("name"), calm = matchMedia("(prefers-reduced-motion: reduce)"), osDark = matchMedia("(prefers-color-scheme: dark)"), off = new AbortController();
  const listen = (to, what, f) => to.addEventListener(what, f, { signal: off.signal });
  const id = newId(), label = model.get("label"), short = label.replace(/ *\(.*\)$/, ""), sign = /^λ.{0,9}$/.test(short) ? short : "λ", root = h("div", { className: "lx", role: "group", ariaLabel: model.get("alt") });
  const slider = h("input", { type: "range", id, min: 0, step: 1 }), out = h("output", { htmlFor: id }), live = h("div", { className: "lx-hidden", ariaLive: "polite" });
  const icon = s("path", {}), play = h("button", { type: "button", className: "lx-play" }, (() => { const g = s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }); g.append(icon); return g; })());
  const marks = h("div", { className: "lx-ticks", ariaHidden: "true" }), grid = h("div", { className: "lx-panels" }), extra = h("div", { className: "lx-extra" }), alarm = h("p", { className: "lx-error", role: "alert", hidden: true });
  root.append(h("div", { className: "lx-bar" }, play, h("div", { className: "lx-slide" }, h("label", { htmlFor: id, textContent: label, className: label === sign ? "lx-hidden" : "" }), slider, marks), out), extra, alarm, grid, live);

  const kept = {};
  let panels = [], lams = [], frame = 0, say = 0, timer = 0, pending = 0, rgb = null;
  const ctx = { label, sign, redraw: () => redraw(), set: (i) => { stop(); set(i); }, w: () => model.get("w_star"), rgb: () => (rgb ||= [1, 2].map((k) => getComputedStyle(root).getPropertyValue(`--lx-${k}`).match(/[0-9a-f]{2}/gi).map((v) => parseInt(v, 16)))), setW(w, end) {
    model.set("w_star", w);
    if (end) { model.save_changes(); remember(); }
  } };
  const redraw = () => { frame ||= requestAnimationFrame(draw); };
  function draw() {
    frame = 0;
    if (!root.isConnected) return;
    const i = clamp(model.get("index"), 0, lams.length - 1), t = `${sign} = ${fmt(lams[i])}`, spoken = `${sign} = ${plain(lams[i])}`;
    if (+slider.value !== i) slider.value = i;
    slider.setAttribute("aria-valuetext", spoken);
    slider.style.setProperty("--at", i / (lams.length - 1));
    out.textContent = t;
    const said = panels.map((p) => p.draw(i)).filter(Boolean);
    // spoken when the slider rests, not at every step
    clearTimeout(say);
    say = setTimeout(() => { live.textContent = [spoken, ...said].join(". ").replace(/\.\./g, "."); }, 400);
  }
  function build() {
    lams = ctx.lams = model.get("lams");
    slider.max = lams.length - 1;
    // DataView in every host; copied, so that typed arrays find their alignment
    const b = model.get("blob"), buf = new Uint8Array(b.buffer || b, b.byteOffset || 0, b.byteLength).slice().buffer;
    panels = model.get("panels").map((p, k) => mount(p, Object.fromEntries(Object.entries(p.arrays).map(([k, a]) => [k, Object.assign(new TYPES[a.dtype](buf, a.offset, a.shape.reduce((x, y) => x * y, 1)), { shape: a.shape })])), ctx, (kept[k + JSON.stringify(p)] ||= {})));
    grid.replaceChildren(...panels.map((p) => p.fig));
    const sc = lamScale(lams, 0, 1), z = sc.z, last = lams.length - 1, decades = logTicks(Math.log10(lams[z]), Math.log10(lams[last]), 9);
    marks.replaceChildren(...[...(z ? [[0, "0"]] : []), ...decades].map(([v, t]) => {
      let k = z;
      while (k < last - 1 && lams[k + 1] <= v * (1 + 1e-9)) k++;
      const at = v ? clamp(k + Math.log(v / lams[k]) / Math.log(lams[k + 1] / lams[k] || 2), 0, last) / last : 0;
      return at && at < 0.06 && z ? "" : h("span", { textContent: t, style: `--p:${at.toFixed(4)}` });
    }));
    fit();
  }
  // reads all widths before it writes: one reflow
  const fit = () => { family = getComputedStyle(root).fontFamily || family; const w = panels.map((p) => p.width()); panels.forEach((p, k) => p.layout(w[k])); redraw(); };
  const again = () => { pending ||= requestAnimationFrame(() => { pending = 0; build(); }); };
  function set(i) {
    if (i === model.get("index")) return;
    model.set("index", i);
    model.save_changes();
    remember();
  }

  // play, or step for those who asked for less motion
  function face() {
    const now = timer ? "pause" : calm.matches ? "step" : "play";
    icon.setAttribute("d", ICON[now]);
    play.title = { play: "Play through λ", pause: "Pause", step: "Next λ" }[now];
    play.setAttribute("aria-label", play.title);
  }
  function stop() { clearInterval(timer); timer = 0; face(); }
  const next = () => set(model.get("index") < lams.length - 1 ? model.get("index") + 1 : 0);
  listen(play, "click", () => {
    if (timer) return stop();
    if (calm.matches) return next();
    if (model.get("index") >= lams.length - 1) set(0);
    timer = setInterval(() => { next(); if (model.get("index") >= lams.length - 1) stop(); }, clamp(6000 / lams.length, 70, 350));
    face();
  });
  listen(slider, "input", () => { stop(); set(+slider.value); });
  // JupyterLab would take the keys of a focused slider; the page would scroll
  listen(root, "keydown", (ev) => { if (/^(Arrow|Page|Home|End|Enter| )/.test(ev.key)) ev.stopPropagation(); });

  // address of this state, and a button that copies it
  let writing = 0;
  const state = () => { const w = ctx.w(), w0 = (model.get("panels").find((p) => p.kind === "geometry") || {}).w_star; return { lam: plain4(lams[model.get("index")]), ...(w0 && String(w) !== String(w0) ? { w: w.map(plain4).join(":") } : {}) }; };
  const plain4 = (v) => String(+v.toPrecision(4));
  function remember() {
    if (!still) return;
    clearTimeout(writing);
    writing = setTimeout(() => {
      const map = readHash().set(name, state());
      // some browsers refuse when asked too often; the address is then a little old
      try { history.replaceState(history.state, "", writeHash(map)); } catch { /* keeps the old one */ }
    }, 250);
  }
  function recall() {
    const map = readHash(), mine = map.get(name);
    if (mine) {
      const lam = +mine.lam, w = (mine.w || "").split(":").map(Number);
      if (lam >= 0 && isFinite(lam)) {
        let k = 0;
        const far = (v) => (v === lam ? 0 : v > 0 && lam > 0 ? Math.abs(Math.log(v / lam)) : 1e9);
        lams.forEach((v, i) => { if (far(v) < far(lams[k])) k = i; });
        model.set("index", k);
      }
      if (w.length === 2 && w.every(isFinite) && ctx.w().length) {
        const R = model.get("panels").find((p) => p.kind === "geometry").extent;
        model.set("w_star", w.map((v) => clamp(v, -R, R)));
      }
    }
    const first = map.keys().next().value;
    if (first === name || location.hash === "#" + name) root.scrollIntoView({ block: "start" });
  }
  if (still) {
    const words = h("span", { textContent: "Copy link" }), copy = h("button", { type: "button", className: "lx-copy", title: "Copy the address of this λ" }, words);
    listen(copy, "click", async () => {
      const url = location.href.split("#")[0] + writeHash(new Map([[name, state()]]));
      let ok = true;
      try { await navigator.clipboard.writeText(url); } catch {
        // no clipboard permission, or a page opened as a file
        const t = h("textarea", { value: url, className: "lx-hidden" });
        root.append(t); t.select(); ok = document.execCommand("copy"); t.remove(); copy.focus();
      }
      words.textContent = live.textContent = ok ? "Link copied" : "Not copied";
      setTimeout(() => { words.textContent = "Copy link"; }, 2000);
    });
    root.querySelector(".lx-bar").append(copy);
    if (!document.getElementById(name)) root.id = name;
    listen(window, "hashchange", recall);
  }

  const fail = () => { alarm.textContent = model.get("error"); alarm.hidden = !alarm.textContent; };
  const heard = [["change:index", redraw], ["change:w_star", redraw], ["change:lams", again], ["change:panels", again], ["change:blob", again], ["change:error", fail]];

  // what needs a kernel: controls that retrain
  const controls = model.get("controls");
  if (controls.length && still) extra.append(h("p", { className: "lx-hint", textContent: `Run this notebook to change ${list(controls.map((c) => c.label))}.` }));
  if (controls.length && !still) {
    const status = h("span", { className: "lx-status", role: "status" });
    let wanted = null;
    const ask = () => {
      if (!wanted || model.get("busy")) return;
      model.set("choice", { ...model.get("choice"), ...wanted });
      wanted = null;
      model.save_changes();
    };
    const fields = controls.map((c) => {
      const k = c.options.indexOf(model.get("choice")[c.name]), key = `${id}-${c.name}`, value = h("output", { htmlFor: key, textContent: c.kind === "slider" ? String(c.options[k]) : "" });
      const input = c.kind === "slider" ? h("input", { type: "range", id: key, min: 0, max: c.options.length - 1, value: k }) : h("select", { id: key }, ...c.options.map((o, j) => new Option(String(o), j, j === k, j === k)));
      const tell = () => { if (c.kind === "slider") { value.textContent = String(c.options[input.value]); input.setAttribute("aria-valuetext", value.textContent); input.style.setProperty("--at", input.value / (c.options.length - 1)); } };
      tell();
      listen(input, "input", tell);
      // while Python computes, only the last wish is kept
      listen(input, "change", () => { wanted = { ...wanted, [c.name]: c.options[+input.value] }; ask(); });
      const follow = () => { input.value = c.options.indexOf(model.get("choice")[c.name]); tell(); };
      return { follow, row: h("span", { className: "lx-control" }, h("label", { htmlFor: key, textContent: c.label }), input, value) };
    });
    extra.append(...fields.map((f) => f.row), status);
    const busy = () => { const b = model.get("busy"); root.classList.toggle("busy", b); root.setAttribute("aria-busy", b); status.textContent = b ? "computing …" : ""; if (!b) ask(); };
    const chosen = () => { if (!wanted) fields.forEach((f) => f.follow()); };
    heard.push(["change:busy", busy], ["change:choice", chosen]);
    busy();
  }

  const paint = () => { root.classList.toggle("dark", isDark()); rgb = null; redraw(); };
  const themes = new MutationObserver(paint);
  themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "theme"] });
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  listen(osDark, "change", paint);
  listen(calm, "change", () => { stop(); });
  const sizes = new ResizeObserver(() => fit());
  for (const [what, f] of heard) model.on(what, f);
  el.append(root);
  root.classList.toggle("dark", isDark());
  face();
  build();
  fail();
  sizes.observe(grid);
  if (still) {
    recall();
    // pictures and formulas above may have moved the page meanwhile
    if (document.readyState !== "complete" && readHash().has(name)) listen(window, "load", recall);
  }
  return () => {
    stop(); clearTimeout(say); clearTimeout(writing); cancelAnimationFrame(frame); cancelAnimationFrame(pending);
    off.abort(); themes.disconnect(); sizes.disconnect();
    for (const [what, f] of heard) model.off(what, f);
  };
}
export default { render };
