// Map of a quantity over λ and a second parameter; the slider frames the column of its λ.
PANELS.heatmap = (spec, arrays, ctx, frame) => {
  const [L, R] = arrays.z.shape;
  const lams = ctx.lams;
  const at = (i, r) => arrays.z[i * R + r];
  const [low, high] = spec.zlim;

  const zTicks = ticks(low, high, 4).map((v) => [v, number(v)]);
  const box = plotBox(frame, spec.ys.map(short), 26 + widest(zTicks.map(([, t]) => t)));
  const width = (box.right - box.left) / L;
  const height = (box.bottom - box.top) / R;
  const x = (i) => box.left + (i + 0.5) * width;
  const y = (r) => box.bottom - (r + 0.5) * height;
  const xs = lams.map((_, i) => x(i));

  const every = Math.ceil(15 / height);
  const yTicks = spec.ys.map((v, r) => [y(r), number(v)]).filter((_, r) => r % every === 0);
  yAxis(frame, box, yTicks, spec.ylabel, false);
  xAxis(frame, box, columnMarks(lams, width, x), ctx.label);

  const seam = width > 7 && height > 7 ? 1 : 0;
  const size = { width: px(width - seam), height: px(height - seam) };
  for (let i = 0; i < L; i++) {
    for (let r = 0; r < R; r++) {
      const place = { x: px(xs[i] - width / 2), y: px(y(r) - height / 2), ...size };
      const rgb = ramp(clamp((at(i, r) - low) / (high - low), 0, 1));
      svg("rect", { ...place, fill: `rgb(${rgb})` }, frame.svg);
    }
  }
  colourBar(frame, box, zTicks, linear(low, high, box.bottom, box.top));
  // what the slider moves: a frame around the column
  const column = svg("g", {}, frame.svg);
  const edges = { x: px(-width / 2 - 1), y: box.top - 1, width: px(width + 1) };
  edges.height = box.bottom - box.top + 1;
  for (const k of ["under", "over"]) svg("rect", { ...edges, class: "frame " + k }, column);
  const [bestI, bestR] = spec.at;
  path(frame.svg, "best-cell", starShape(xs[bestI], y(bestR), 6));
  frame.legend([
    ["rect", `rgb(${ramp(0.8)})`, `colour: ${spec.zlabel}`],
    ["star", "currentColor", "best of all"],
  ]);

  const yName = bare(spec.ylabel);
  const zName = bare(spec.zlabel);
  const cell = (i, r) => `${yName} ${number(spec.ys[r])}, ${zName} ${number(at(i, r))}`;
  const overall = `Best of all: ${ctx.sign} = ${number(lams[bestI])}, ${cell(bestI, bestR)}.`;
  return (i) => {
    const values = arrays.z.subarray(i * R, (i + 1) * R);
    const top = values.indexOf(Math.max(...values));
    moveTo(column, xs[i]);
    return `Best ${cell(i, top)}. ${bestI === i ? "This is the best of all." : overall}`;
  };
};

// A label for as many columns as fit.
function columnMarks(lams, width, x) {
  const names = lams.map((v) => number(v, 2));
  const every = Math.ceil((widest(names) + 8) / width);
  return names.map((t, i) => [x(i), t]).filter((_, i) => i % every === 0);
}

// Close to cividis: even in lightness and the same for all kinds of colour vision.
const RAMP = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 175, 111], [253, 231, 55]];

function ramp(t) {
  const k = Math.min(Math.floor(t * 4), 3);
  const part = t * 4 - k;
  return RAMP[k].map((c, j) => Math.round(c + part * (RAMP[k + 1][j] - c)));
}

function colourBar(frame, box, marks, y) {
  const upwards = { id: newId(), x1: 0, x2: 0, y1: 1, y2: 0 };
  const gradient = svg("linearGradient", upwards, frame.svg);
  RAMP.forEach((rgb, k) => svg("stop", { offset: k / 4, "stop-color": `rgb(${rgb})` }, gradient));
  const x = box.right + 9;
  const size = { x, y: box.top, width: 9, height: box.bottom - box.top };
  svg("rect", { ...size, fill: `url(#${gradient.id})` }, frame.svg);
  for (const [v, t] of marks) text(frame.svg, x + 13, y(v) + 4, t, "tick", "start");
}
