// Curves against λ: means as lines, spreads as bands, names at the ends, the best λ marked.
PANELS.curves = (spec, arrays, ctx, frame) => {
  const values = arrays.y;
  const [, , L] = values.shape;
  const at = (series, row, i) => values[(series * 3 + row) * L + i]; // rows: mean, lowest, highest
  const scaled = spec.logy ? Math.log10 : (v) => v;
  const say = spec.percent ? percent : number;

  const [low, high] = spec.ylim ? spec.ylim.map(scaled) : range(spec, values.map(scaled));
  const marks = spec.logy
    ? logTicks(low, high, 5).map(([v]) => [v, number(v)])
    : ticks(low, high, 4).map((v) => [v, say(v)]);
  const room = 12 + Math.max(...spec.names.map((name) => wide(name, true)));
  const box = plotBox(frame, marks.map(([, t]) => t), room);
  const height = linear(low, high, box.bottom, box.top);
  const y = (v) => height(scaled(v));
  yAxis(frame, box, marks.map(([v, t]) => [y(v), t]), spec.ylabel);
  const x = lamAxis(frame, box, ctx);
  const area = clipTo(frame, box);

  const lasts = spec.names.map((_, j) => y(at(j, 0, L - 1)) + 4);
  const ends = apart(lasts, 14, box.top + 4, box.bottom);
  spec.names.forEach((name, j) => {
    const stroke = color(spec.colors[j]);
    const line = (row) => polyline(L, (k) => x[k], (k) => y(at(j, row, k)));
    if (spec.band[j]) {
      const back = polyline(L, (k) => x[L - 1 - k], (k) => y(at(j, 2, L - 1 - k)));
      path(area, "band", line(1) + back.replace("M", "L") + "Z", { fill: stroke });
    }
    path(area, "line", line(0), { stroke, "stroke-dasharray": DASH[j % 6] });
    tint(text(frame.svg, box.right + 4, ends[j], name, "strong", "start"), stroke);
  });
  const fits = wide(spec.spread) + wide(spec.ylabel) + 20 < frame.width;
  if (spec.band.some(Boolean) && fits) {
    text(frame.svg, frame.width, 12, spec.spread, "label", "end");
  }
  if (spec.best) markBest(spec, frame, box, x, (j, i) => y(at(j, 0, i)));

  const moveCursor = cursor(frame, box);
  const dot = (_, j) => svg("circle", { r: 4.5, fill: color(spec.colors[j]), class: "dot" }, area);
  const dots = spec.names.map(dot);
  return (i) => {
    moveCursor(x[i]);
    dots.forEach((e, j) => put(e, { cx: px(x[i]), cy: px(y(at(j, 0, i))) }));
    const said = spec.names.map((name, j) => `${name}: ${say(at(j, 0, i))}`).join(", ");
    const best = spec.best;
    if (!best) return `${said}.`;
    if (best.at === i) return `${said}. This is the ${best.label}.`;
    return `${said}; ${best.label}: ${number(ctx.lams[best.at])}.`;
  };
};

// Moves labels apart that would overlap; returns their places in the given order.
function apart(places, gap, low, high) {
  const order = places.map((_, k) => k).sort((a, b) => places[a] - places[b]);
  const out = [...places];
  order.forEach((k, n) => {
    out[k] = Math.max(out[k], n ? out[order[n - 1]] + gap : low);
  });
  let top = high;
  for (const k of order.reverse()) {
    out[k] = Math.min(out[k], top);
    top = out[k] - gap;
  }
  return out;
}

// A ring at the best λ, with its label near it where it hides least of the curves.
function markBest({ best, names, colors }, frame, box, x, y) {
  const stroke = color(colors[best.series]);
  const cx = x[best.at];
  const cy = y(best.series, best.at);
  path(frame.svg, "best", `M${px(cx)} ${px(cy)}V${box.bottom}`, { stroke });
  svg("circle", { cx, cy, r: 6, stroke, class: "ring" }, frame.svg);

  const half = wide(best.label, true) / 2;
  const places = [22, -13, 38, -30, 56, -48].flatMap((dy) =>
    [0, -half - 8, half + 8].map((dx) => [
      clamp(cx + dx, box.left + half + 2, box.right - half),
      cy + dy,
    ]),
  );
  const cost = ([u, v]) => {
    const outside = v > box.bottom - 6 || v < box.top + 8;
    const hides = names.map((_, j) => hidden(x, (i) => y(j, i), u, v, half));
    return hides.reduce((a, b) => a + b, outside ? 99 : Math.abs(v - cy) / 400);
  };
  tint(text(frame.svg, ...leastBy(cost, places), best.label, "strong halo"), stroke);
}

// How many points of a curve lie under a label: four on each of its pieces.
function hidden(x, y, u, v, half) {
  let n = 0;
  for (let k = 0; k < 4 * x.length - 4; k++) {
    const i = k >> 2;
    const t = (k % 4) / 4;
    if (Math.abs(x[i] + t * (x[i + 1] - x[i]) - u) >= half + 4) continue;
    if (Math.abs(y(i) + t * (y(i + 1) - y(i)) - v + 4) < 10) n++;
  }
  return n;
}
