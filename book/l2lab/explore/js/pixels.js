// A number per pixel in one scale of colours for all λ; marked pixels have a cross.
PANELS.pixels = (spec, arrays, ctx, frame) => {
  const values = arrays.y;
  const [, rows, columns] = values.shape;
  const size = rows * columns;
  const top = Math.max(...values) || 1;
  const side = Math.floor(Math.min(frame.width / columns, frame.height / rows));
  const left = (frame.width - side * columns) / 2;
  const place = (n) => [left + (n % columns) * side, Math.floor(n / columns) * side];
  const cells = Array.from({ length: size }, (_, n) => {
    const [x, y] = place(n);
    const square = { x, y, width: side - 1, height: side - 1, fill: color(1), class: "pixel" };
    return svg("rect", square, frame.svg);
  });
  const middle = (v) => v + (side - 1) / 2;
  const crosses = spec.marks.map((n) => cross(...place(n).map(middle), side / 6));
  path(frame.svg, "cross", crosses.join(""));
  frame.legend([
    ["rect", color(1), `${spec.unit}, full colour: ${number(top)}`],
    ["cross", "currentColor", spec.mark],
  ]);

  const marked = new Set(spec.marks);
  const mean = (a) => number(a.reduce((sum, v) => sum + v, 0) / a.length);
  return (i) => {
    const now = [...values.subarray(i * size, (i + 1) * size)];
    cells.forEach((cell, n) => put(cell, { "fill-opacity": (now[n] / top).toFixed(3) }));
    const here = mean(now.filter((_, n) => marked.has(n)));
    const there = mean(now.filter((_, n) => !marked.has(n)));
    return `Mean ${spec.unit}: ${here} where ${spec.mark}, ${there} elsewhere.`;
  };
};
