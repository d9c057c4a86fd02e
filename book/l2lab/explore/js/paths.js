// Coefficients against λ, coloured by group; an exact zero is a hollow ring.
PANELS.paths = (spec, arrays, ctx, frame) => {
  const values = arrays.y;
  const [, P] = values.shape;
  const [box, y] = yScale(frame, ...range(spec, values), spec.ylabel);
  const x = lamAxis(frame, box, ctx);
  const area = clipTo(frame, box);
  path(area, "zero", `M${box.left} ${px(y(0))}H${box.right}`);
  const moveCursor = cursor(frame, box);

  const many = spec.names.map((_, g) => isCrowd(spec, g));
  const dots = [];
  // the first group is drawn last, on top
  for (let g = spec.names.length - 1; g >= 0; g--) {
    const hue = color(spec.colors[g]);
    let d = "";
    for (let k = 0; k < P; k++) {
      if (spec.group[k] === g) d += polyline(x.length, (i) => x[i], (i) => y(values[i * P + k]));
    }
    const dash = many[g] ? "" : DASH[g % 6];
    path(area, many[g] ? "line hair" : "line thin", d, { stroke: hue, "stroke-dasharray": dash });
    dots[g] = path(area, many[g] ? "" : "dot", "", { fill: hue });
  }
  const hollow = path(area, "ring small");
  const radius = P > 40 ? 2 : 3;
  const tell = groupLegend(spec, frame, many);
  return (i) => {
    moveCursor(x[i]);
    const d = spec.names.map(() => "");
    let none = "";
    for (let k = 0; k < P; k++) {
      const v = values[i * P + k];
      const g = spec.group[k];
      if (v) d[g] += disc(x[i], y(v), many[g] ? 1.5 : radius);
      else none = disc(x[i], y(0), radius + 0.5);
    }
    dots.forEach((e, g) => shape(e, d[g]));
    shape(hollow, none);
    return tell(values.subarray(i * P, (i + 1) * P));
  };
};

// The largest of several groups recedes when it has many members: hairlines, as dashes would make
// a pattern.
function isCrowd(spec, g) {
  const sizes = groupSizes(spec);
  return sizes.length > 1 && sizes[g] > 8 && sizes[g] === Math.max(...sizes);
}

const groupSizes = (spec) => spec.names.map((_, g) => spec.group.filter((k) => k === g).length);

// Returns what to say about the nonzero entries of each group.
function groupLegend(spec, frame, many) {
  const { names, group, colors, noun } = spec;
  const sizes = groupSizes(spec);
  const named = names.length > 1 || names[0] !== "";
  const key = (name, g) =>
    many[g] ? ["hair", color(colors[g]), name] : ["line", color(colors[g]), name, DASH[g % 6]];
  frame.legend(named ? names.map(key) : []);
  return (values) => {
    const nonzero = names.map(() => 0);
    values.forEach((v, k) => v && nonzero[group[k]]++);
    const each = names.map((name, g) => `${name} ${nonzero[g]} of ${sizes[g]}`).join(", ");
    return tellNonzero(values, noun, named ? ` (${each})` : "");
  };
}
