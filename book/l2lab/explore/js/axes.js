// The plotting box, its axes, and the panel as a slider.

// Room for the labels of the y axis at the left, and `right` pixels at the right.
function plotBox(frame, labels, right = 12) {
  return {
    left: Math.ceil(Math.max(14, widest(labels))) + 9,
    right: frame.width - right,
    top: 24,
    bottom: frame.height - 38,
  };
}

// A box with a vertical axis of round numbers; returns both, the axis as a function.
function yScale(frame, low, high, label, grid) {
  const marks = ticks(low, high, 4);
  const box = plotBox(frame, marks.map(short));
  const y = linear(low, high, box.bottom, box.top);
  yAxis(frame, box, numbered(y, marks), label, grid);
  return [box, y];
}

function xScale(frame, box, low, high, label, step = 70, from = box.left) {
  const x = linear(low, high, from, box.right);
  const marks = ticks(low, high, (box.right - from) / step);
  xAxis(frame, box, numbered(x, marks), label, from);
  return x;
}

// Marks are pairs: a place in pixels and a text.
function yAxis(frame, box, marks, label, grid = true) {
  for (const [y, t] of marks) {
    if (grid) path(frame.svg, "grid", `M${box.left} ${px(y)}H${box.right}`);
    text(frame.svg, box.left - 7, y + 4, t, "tick", "end");
  }
  if (label) text(frame.svg, 1, 12, label, "label", "start");
}

function xAxis(frame, box, marks, label, from = box.left) {
  const strokes = marks.map(([x]) => `M${px(x)} ${box.bottom}v4`);
  path(frame.svg, "axis", `M${from} ${box.bottom}H${box.right}` + strokes.join(""));
  let end = -9;
  for (const [x, t] of marks) {
    const half = wide(t) / 2;
    const at = clamp(x, half, frame.width - half);
    if (at - half < end + 5) continue;
    end = at + half;
    text(frame.svg, at, box.bottom + 17, t, "tick");
  }
  if (label) text(frame.svg, (from + box.right) / 2, frame.height - 4, label, "label");
}

// Places of the grid on a log axis; λ = 0 stands at the left, behind a break.
function lamScale(lams, r0, r1) {
  const zero = lams[0] === 0 ? 1 : 0;
  const logs = lams.map((v) => Math.log10(v));
  const at = linear(logs[zero], logs.at(-1), r0 + (zero ? 30 : 0), r1);
  const x = logs.map((log, i) => (zero && !i ? r0 : at(log)));
  const marks = (n) => [
    ...(zero ? [[r0, "0"]] : []),
    ...logTicks(logs[zero], logs.at(-1), n).map(([v, t]) => [at(Math.log10(v)), t]),
  ];
  return { zero, x, marks };
}

const lamTicks = (box) => clamp(Math.floor((box.right - box.left) / 44), 2, 9);
const lamBreak = (frame, x, y) => path(frame.svg, "break", `M${px(x)} ${y + 4}l4 -8m4 0l-4 8`);

function lamAxis(frame, box, ctx) {
  const scale = lamScale(ctx.lams, box.left + 5, box.right - 5);
  xAxis(frame, box, scale.marks(lamTicks(box)), ctx.label);
  if (scale.zero) lamBreak(frame, box.left + 16, box.bottom);
  scrub(frame, scale.x, ctx);
  return scale.x;
}

// The panel itself is a slider for mouse and finger; the keyboard has the real one.
// x: places of the grid.
function scrub(frame, x, ctx) {
  const picture = frame.svg;
  const go = (event) => {
    const r = picture.getBoundingClientRect();
    const at = ((event.clientX - r.left) / r.width) * frame.width;
    ctx.choose(x.indexOf(leastBy((place) => Math.abs(place - at), x)));
  };
  picture.classList.add("scrub");
  picture.onpointerdown = (event) => {
    if (event.button !== 0) return;
    picture.setPointerCapture(event.pointerId);
    go(event);
  };
  picture.onpointermove = (event) => {
    if (picture.hasPointerCapture(event.pointerId)) go(event);
  };
}

function cursor(frame, box) {
  const line = path(frame.svg, "cursor", `M0 ${box.top - 4}V${box.bottom}`);
  return (x) => moveTo(line, x);
}

// A group whose content ends at the box, with 5 pixels for dots at the upper edge.
function clipTo(frame, box) {
  const clip = svg("clipPath", { id: newId() }, frame.svg);
  const width = Math.max(box.right - box.left, 0);
  const height = box.bottom - box.top + 5;
  svg("rect", { x: box.left, y: box.top - 5, width, height }, clip);
  return svg("g", { "clip-path": `url(#${clip.id})` }, frame.svg);
}
