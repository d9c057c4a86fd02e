// Map of a quantity over λ and a second parameter; the slider frames the column of its λ.
PANELS.heatmap = (spec, arrays, ctx, frame) => {
  const [L, R] = arrays.z.shape;
  const lams = ctx.lams;
  const at = (i, r) => arrays.z[i * R + r];
  const [low, high] = spec.zlim;

  const zTicks = ticks(low, high, 4).map((v) => [v, number(v)]);
  const box = plotBox(frame, spec.ys.map(short), 26 + widest(zTicks.map(([, t]) => t)));
  const gap = lams[0] === 0 ? 9 : 0; // behind the column of λ = 0
  const width = (box.right - box.left - gap) / L;
  const height = (box.bottom - box.top) / R;
  const x = (i) => box.left + (i + 0.5) * width + (i < 1 ? 0 : gap);
  const y = (r) => box.bottom - (r + 0.5) * height;
  const xs = lams.map((_, i) => x(i));

  const every = Math.ceil(15 / height);
  const yTicks = spec.ys.map((v, r) => [y(r), number(v)]).filter((_, r) => r % every === 0);
  yAxis(frame, box, yTicks, spec.ylabel, false);
  xAxis(frame, box, columnMarks(lams, box, width, x), ctx.label);
  if (gap) lamBreak(frame, box.left + width, box.bottom);
  scrub(frame, xs, ctx);

  // numbers in the cells where they fit beside or below a mark
  const room = widest(Array.from(arrays.z, threeDigits));
  const beside = width >= room + 40;
  const told = beside ? height >= 16 : width >= room + 6 && height >= 34;
  const dx = told && beside ? -room / 2 - 11 : 0;
  const dy = told && !beside ? -9 : 0;
  const seam = width > 7 && height > 7 ? 1 : 0;
  const size = { width: px(width - seam), height: px(height - seam) };
  for (let i = 0; i < L; i++) {
    for (let r = 0; r < R; r++) {
      const place = { x: px(xs[i] - width / 2), y: px(y(r) - height / 2), ...size };
      const rgb = ramp(clamp((at(i, r) - low) / (high - low), 0, 1));
      svg("rect", { ...place, fill: `rgb(${rgb})` }, frame.svg);
      if (!told) continue;
      const value = text(frame.svg, px(xs[i]), px(y(r) + 4 - dy), threeDigits(at(i, r)));
      tint(value, readable(rgb));
    }
  }
  colourBar(frame, box, zTicks, linear(low, high, box.bottom, box.top));
  // the names of both scales share a line where it is wide enough
  const share = wide(spec.ylabel) + wide(spec.zlabel) + 20 < frame.width;
  if (share) text(frame.svg, frame.width, 12, spec.zlabel, "label", "end");

  // what the slider moves: a frame around the column, and a ring around the best of its cells
  const column = svg("g", {}, frame.svg);
  const edges = { x: px(-width / 2 - 1), y: box.top - 1, width: px(width + 1) };
  edges.height = box.bottom - box.top + 1;
  for (const k of ["under", "over"]) svg("rect", { ...edges, class: "frame " + k }, column);
  const ring = svg("g", {}, frame.svg);
  const r0 = clamp(Math.min(width, height) * 0.4, 4, 7);
  for (const k of ["under", "over"]) svg("circle", { r: r0, class: "halo-ring " + k }, ring);
  const [bestI, bestR] = spec.at;
  path(frame.svg, "best-cell", starShape(xs[bestI] + dx, y(bestR) + dy, r0));
  frame.legend([
    !share && ["rect", `rgb(${ramp(0.8)})`, `colour: ${spec.zlabel}`],
    ["star", "currentColor", "best of all"],
    ["ring", "currentColor", `best for this ${ctx.sign}`],
  ]);

  const yName = bare(spec.ylabel);
  const cell = (i, r) =>
    `${yName} ${number(spec.ys[r])}, ${bare(spec.zlabel)} ${threeDigits(at(i, r))}`;
  const overall = `Best of all: ${ctx.sign} = ${number(lams[bestI])}, ${cell(bestI, bestR)}.`;
  return (i) => {
    const values = arrays.z.subarray(i * R, (i + 1) * R);
    const top = values.indexOf(Math.max(...values));
    moveTo(column, xs[i]);
    moveTo(ring, xs[i] + dx, y(top) + dy);
    return `Best ${cell(i, top)}. ${bestI === i ? "This is the best of all." : overall}`;
  };
};

// A label for each column where they fit, else round numbers at their places between the columns.
function columnMarks(lams, box, width, x) {
  const each = lams.map((v) => number(v, 2));
  if (widest(each) + 8 < width) return each.map((t, i) => [x(i), t]);
  const scale = lamScale(lams, 0, 1e3);
  const place = (u) => {
    let k = 0;
    while (k < lams.length - 2 && scale.x[k + 1] <= u + 1e-6) k++;
    return x(k + (u - scale.x[k]) / (scale.x[k + 1] - scale.x[k]));
  };
  return scale.marks(lamTicks(box)).map(([u, t]) => [place(u), t]);
}

// Zeros at the end stay: the numbers of all cells are equally long.
function threeDigits(v) {
  const t = v.toPrecision(3);
  return t.includes("e") || (v && Math.abs(v) < 1e-3) ? number(v) : minus(t);
}

// Close to cividis: even in lightness and the same for all kinds of colour vision.
const RAMP = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 175, 111], [253, 231, 55]];

function ramp(t) {
  const k = Math.min(Math.floor(t * 4), 3);
  const part = t * 4 - k;
  return RAMP[k].map((c, j) => Math.round(c + part * (RAMP[k + 1][j] - c)));
}

// Black or white, whichever has the higher contrast.
function readable(rgb) {
  const [r, g, b] = rgb.map((v) => (v / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
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
