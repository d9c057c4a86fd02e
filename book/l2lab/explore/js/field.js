// Probability over the plane, with the boundary at one half, and points [x, y, class], if any.
PANELS.field = (spec, arrays, ctx, frame) => {
  const codes = arrays.code;
  const [, rows, columns] = codes.shape;
  const [x0, x1, y0, y1] = spec.extent;
  const [box, y] = yScale(frame, y0, y1, spec.ylabel, false);
  const x = xScale(frame, box, x0, x1, spec.xlabel);
  const paint = fieldCanvas(frame, box, rows, columns);
  for (const [u, v, label] of spec.points || []) {
    const [cx, cy] = [x(u), y(v)];
    const d = label ? `M${px(cx - 2.5)} ${px(cy - 2.5)}h5v5h-5z` : disc(cx, cy, 2.8);
    path(frame.svg, "dot", d, { fill: color(label + 1) });
  }
  const boundary = path(frame.svg, "boundary");
  frame.legend([
    ["circle", color(1), spec.classes[0]],
    ["rect", color(2), spec.classes[1]],
    ["line", "currentColor", "boundary"],
  ]);

  const toX = linear(0, columns - 1, box.left, box.right);
  const toY = linear(0, rows - 1, box.bottom, box.top);
  const margin = (i) => (r, k) => MARGIN[codes[(i * rows + r) * columns + k]];
  const boundaryAt = once((i) => contour(margin(i), rows, columns, toX, toY));
  return (i) => {
    paint(margin(i), ctx.rgb());
    shape(boundary, boundaryAt(i));
    return "";
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
