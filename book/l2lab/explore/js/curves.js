// Curves against λ: means as lines, spreads as bands, the best λ marked.
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
  const box = plotBox(frame, marks.map(([, t]) => t));
  const height = linear(low, high, box.bottom, box.top);
  const y = (v) => height(scaled(v));
  yAxis(frame, box, marks.map(([v, t]) => [y(v), t]), spec.ylabel);
  const x = lamAxis(frame, box, ctx);
  const area = clipTo(frame, box);
  const hues = spec.colors.map(color);

  hues.forEach((stroke, j) => {
    const line = (row) => polyline(L, (k) => x[k], (k) => y(at(j, row, k)));
    if (spec.band[j]) {
      const back = polyline(L, (k) => x[L - 1 - k], (k) => y(at(j, 2, L - 1 - k)));
      path(area, "band", line(1) + back.replace("M", "L") + "Z", { fill: stroke });
    }
    path(area, "line", line(0), { stroke, "stroke-dasharray": DASH[j % 6] });
  });
  const { best } = spec;
  const stroke = best && hues[best.series];
  if (best) {
    const [cx, cy] = [x[best.at], y(at(best.series, 0, best.at))];
    path(frame.svg, "best", `M${px(cx)} ${px(cy)}V${box.bottom}`, { stroke });
    svg("circle", { cx, cy, r: 6, stroke, class: "ring" }, frame.svg);
  }
  frame.legend([
    ...spec.names.map((name, j) => ["line", hues[j], name, DASH[j % 6]]),
    best && ["ring", stroke, best.label],
    spec.band.some(Boolean) && ["rect", color(6), spec.spread],
  ]);

  const moveCursor = cursor(frame, box);
  const dots = hues.map((fill) => svg("circle", { r: 4.5, fill, class: "dot" }, area));
  return (i) => {
    moveCursor(x[i]);
    dots.forEach((e, j) => put(e, { cx: px(x[i]), cy: px(y(at(j, 0, i))) }));
    const said = spec.names.map((name, j) => `${name}: ${say(at(j, 0, i))}`).join(", ");
    if (!best) return `${said}.`;
    if (best.at === i) return `${said}. This is the ${best.label}.`;
    return `${said}; ${best.label}: ${number(ctx.lams[best.at])}.`;
  };
};
