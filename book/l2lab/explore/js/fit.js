// Data points, the fitted function at one λ, and a function to compare it with.
PANELS.fit = (spec, arrays, ctx, frame) => {
  const codes = arrays.y; // 16 bits: see fit_panel in panels.py
  const xs = spec.x;
  const n = xs.length;
  const [box, y] = yScale(frame, ...spec.ylim, spec.ylabel);
  const x = xScale(frame, box, xs[0], xs[n - 1], spec.xlabel);
  const area = clipTo(frame, box);
  const through = (value) => polyline(n, (k) => x(xs[k]), (k) => y(value(k)));
  const dashed = { stroke: color(6), "stroke-dasharray": DASH[1] };
  if (spec.truth) path(area, "line", through((k) => spec.truth[k]), dashed);
  const line = path(area, "line bold", "", { stroke: color(1) });
  for (const [u, v] of spec.points) {
    svg("circle", { cx: px(x(u)), cy: px(y(v)), r: 3.6, class: "datum" }, area);
  }
  const [data, fit, truth] = spec.names;
  frame.legend([
    spec.points.length && ["circle", "currentColor", data],
    ["line", color(1), fit],
    spec.truth && ["line", color(6), truth, DASH[1]],
  ]);

  const lineAt = once((i) => through((k) => spec.offset + spec.step * codes[i * n + k]));
  return (i) => {
    shape(line, lineAt(i));
    if (!spec.rms) return "";
    return `Root mean square distance between ${fit} and ${truth}: ${number(spec.rms[i])}.`;
  };
};
