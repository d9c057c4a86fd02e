// Probability over the plane, with the boundary at one half.
PANELS.field = (spec, arrays, ctx, frame) => {
  const codes = arrays.code;
  const [, rows, columns] = codes.shape;
  const [x0, x1, y0, y1] = spec.extent;
  const yTicks = ticks(y0, y1, 4);
  const box = plotBox(frame, yTicks.map(short));
  const x = linear(x0, x1, box.left, box.right);
  const y = linear(y0, y1, box.bottom, box.top);
  const at = (i, r, k) => MARGIN[codes[(i * rows + r) * columns + k]];

  const paint = fieldCanvas(frame, box, rows, columns);
  yAxis(frame, box, numbered(y, yTicks), spec.ylabel, false);
  const xTicks = ticks(x0, x1, (box.right - box.left) / 70);
  xAxis(frame, box, numbered(x, xTicks), spec.xlabel);
  const boundary = path(frame.svg, "boundary");
  for (const [u, v, k] of spec.points) {
    const shape = k
      ? { x: px(x(u) - 3.4), y: px(y(v) - 3.4), width: 6.8, height: 6.8 }
      : { cx: px(x(u)), cy: px(y(v)), r: 3.8 };
    svg(k ? "rect" : "circle", { ...shape, fill: color(k + 1), class: "dot" }, frame.svg);
  }
  frame.legend([
    ["circle", color(1), spec.classes[0]],
    ["rect", color(2), spec.classes[1]],
    ["line", "currentColor", "boundary"],
  ]);

  const toX = linear(0, columns - 1, box.left, box.right);
  const toY = linear(0, rows - 1, box.bottom, box.top);
  const boundaryAt = once((i) => contour((r, k) => at(i, r, k), rows, columns, toX, toY));
  const column = linear(x0, x1, 0, columns - 1);
  const row = linear(y0, y1, 0, rows - 1);
  const isWrong = (i) => ([u, v, k]) => {
    const c = clamp(column(u), 0, columns - 1.001);
    const r = clamp(row(v), 0, rows - 1.001);
    return between((a, b) => at(i, a, b), r, c) > 0 !== !!k;
  };
  const wrong = once((i) => spec.points.filter(isWrong(i)).length);
  return (i) => {
    paint((r, k) => at(i, r, k), ctx.rgb());
    shape(boundary, boundaryAt(i));
    if (!spec.points.length) return "";
    return `${wrong(i)} of ${spec.points.length} points are on the wrong side.`;
  };
};

// The 256 codes stand for 2p − 1, finest around the boundary: see field_panel in panels.py.
const MARGIN = Float32Array.from({ length: 256 }, (_, code) => {
  const t = (code - 127.5) / 127.5;
  return t * Math.abs(t);
});

// A small canvas under the drawing, which the browser enlarges smoothly.
function fieldCanvas(frame, box, rows, columns) {
  const canvas = html("canvas", { width: columns, height: rows, ariaHidden: "true" });
  const share = (part, whole) => (100 * part) / whole + "%";
  canvas.style.left = share(box.left, frame.width);
  canvas.style.width = share(box.right - box.left, frame.width);
  canvas.style.top = share(box.top, frame.height);
  canvas.style.height = share(box.bottom - box.top, frame.height);
  frame.stage.prepend(canvas);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(columns, rows);
  return (margin, classes) => {
    let at = 0;
    for (let r = rows - 1; r >= 0; r--) {
      for (let k = 0; k < columns; k++) {
        const m = margin(r, k);
        const rgb = classes[m > 0 ? 1 : 0];
        for (let c = 0; c < 3; c++) image.data[at++] = rgb[c];
        image.data[at++] = 8 + Math.abs(m) * 105;
      }
    }
    pen.putImageData(image, 0, 0);
  };
}

// Bilinear interpolation.
function between(z, r, c) {
  const j = Math.floor(c);
  const i = Math.floor(r);
  const s = c - j;
  const t = r - i;
  const lower = z(i, j) * (1 - s) * (1 - t) + z(i, j + 1) * s * (1 - t);
  return lower + z(i + 1, j) * (1 - s) * t + z(i + 1, j + 1) * s * t;
}

// Where z changes its sign: marching squares.
function contour(z, rows, columns, x, y) {
  let d = "";
  for (let r = 0; r < rows - 1; r++) {
    for (let k = 0; k < columns - 1; k++) {
      const a = z(r, k);
      const b = z(r, k + 1);
      const c = z(r + 1, k + 1);
      const e = z(r + 1, k);
      const found = [];
      if (a * b < 0) found.push([k + a / (a - b), r]);
      if (b * c < 0) found.push([k + 1, r + b / (b - c)]);
      if (c * e < 0) found.push([k + e / (e - c), r + 1]);
      if (e * a < 0) found.push([k, r + a / (a - e)]);
      for (let j = 0; j + 1 < found.length; j += 2) {
        const [[u0, v0], [u1, v1]] = [found[j], found[j + 1]];
        d += `M${px(x(u0))} ${px(y(v0))}L${px(x(u1))} ${px(y(v1))}`;
      }
    }
  }
  return d;
}
