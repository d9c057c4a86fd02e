// Coefficients at one λ; an exact zero is a hollow ring.
PANELS.bars = (spec, arrays, ctx, frame) => {
  const values = arrays.y;
  const [, P] = values.shape;
  const { labels, ylim: [low, high] } = spec;
  const marks = ticks(low, high, 4);
  const box = plotBox(frame, marks.map(short));
  const slot = (box.right - box.left) / P;

  const named = labels && widest(labels) < slot - 3; // or there is no room for them
  if (!named) box.bottom = frame.height - (spec.xlabel ? 24 : 10);
  const y = linear(low, high, box.bottom, box.top);
  const x = (k) => box.left + slot * (k + 0.5);
  yAxis(frame, box, numbered(y, marks), spec.ylabel);
  const area = clipTo(frame, box);
  if (named) labels.forEach((name, k) => text(frame.svg, x(k), box.bottom + 16, name, "tick"));
  if (spec.xlabel) {
    text(frame.svg, (box.left + box.right) / 2, frame.height - 4, spec.xlabel, "label");
  }

  const bars = path(area, "", "", { fill: color(1) });
  path(frame.svg, "zero", `M${box.left} ${px(y(0))}H${box.right}`);
  const hollow = path(frame.svg, "ring small");
  const radius = clamp(slot / 3, 2, 4);
  const half = Math.min(slot * 0.72, 26) / 2;
  const shapes = once((i) => {
    let d = "";
    let none = "";
    for (let k = 0; k < P; k++) {
      const v = values[i * P + k];
      if (v) d += `M${px(x(k) - half)} ${px(y(0))}V${px(y(v))}h${px(2 * half)}V${px(y(0))}Z`;
      else none += disc(x(k), y(0), radius);
    }
    return [d, none];
  });
  return (i) => {
    const [d, none] = shapes(i);
    shape(bars, d);
    shape(hollow, none);
    return tellNonzero(values.subarray(i * P, (i + 1) * P), spec.noun, "");
  };
};
