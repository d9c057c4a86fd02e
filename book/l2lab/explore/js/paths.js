// Coefficients against λ, coloured by group; an exact zero is a hollow ring.
PANELS.paths = (spec, arrays, ctx, frame) => {
  const values = arrays.y;
  const [, P] = values.shape;
  const { names, group, noun } = spec;
  const [box, y] = yScale(frame, ...range(spec, values), spec.ylabel);
  const x = lamAxis(frame, box, ctx);
  const area = clipTo(frame, box);
  path(area, "zero", `M${box.left} ${px(y(0))}H${box.right}`);
  const moveCursor = cursor(frame, box);

  // a large group recedes: hairlines, as dashes would make a pattern
  const hues = spec.colors.map(color);
  const sizes = names.map((_, g) => group.filter((k) => k === g).length);
  const many = sizes.map((size) => names.length > 1 && size > 8 && size === Math.max(...sizes));
  const dash = many.map((yes, g) => (yes ? "" : DASH[g % 6]));
  const dots = [];
  // the first group is drawn last, on top
  for (let g = names.length - 1; g >= 0; g--) {
    let d = "";
    for (let k = 0; k < P; k++) {
      if (group[k] === g) d += polyline(x.length, (i) => x[i], (i) => y(values[i * P + k]));
    }
    const look = { stroke: hues[g], "stroke-dasharray": dash[g] };
    path(area, many[g] ? "line hair" : "line thin", d, look);
    dots[g] = path(area, many[g] ? "" : "dot", "", { fill: hues[g] });
  }
  const hollow = path(area, "ring small");
  const radius = P > 40 ? 2 : 3;
  const named = names[0] !== "";
  const key = (name, g) => [many[g] ? "hair" : "line", hues[g], name, dash[g]];
  frame.legend(named ? names.map(key) : []);
  return (i) => {
    moveCursor(x[i]);
    const now = values.subarray(i * P, (i + 1) * P);
    const d = names.map(() => "");
    const nonzero = names.map(() => 0);
    now.forEach((v, k) => {
      const g = group[k];
      if (v) d[g] += disc(x[i], y(v), many[g] ? 1.5 : radius);
      if (v) nonzero[g] += 1;
    });
    dots.forEach((e, g) => shape(e, d[g]));
    shape(hollow, now.includes(0) ? disc(x[i], y(0), radius + 0.5) : "");
    const each = names.map((name, g) => `${name} ${nonzero[g]} of ${sizes[g]}`).join(", ");
    return tellNonzero(now, noun, named ? ` (${each})` : "");
  };
};
