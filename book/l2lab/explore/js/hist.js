// Histogram on a log-count axis; exact zeros stand apart at the left.
PANELS.hist = (spec, { counts, zeros }, ctx, frame) => {
  const bins = counts.shape[1];
  const edges = spec.edges;
  const top = Math.max(2, ...counts, ...(zeros || []));

  const marks = logTicks(0, Math.log10(top * 1.9), 4).map(([v]) => v).filter((v) => v >= 1);
  const box = plotBox(frame, marks.map(count));
  const left = box.left + (zeros ? 66 : 0);
  const height = linear(Math.log10(0.6), Math.log10(top * 1.9), box.bottom, box.top);
  const y = (v) => height(Math.log10(v));
  yAxis(frame, box, marks.map((v) => [y(v), count(v)]), `number of ${spec.noun}, log axis`);
  const x = xScale(frame, box, edges[0], edges[bins], spec.xlabel, 60, left);

  const bars = path(frame.svg, "", "", { fill: color(1) });
  const barsAt = once((i) => {
    let d = "";
    for (let k = 0; k < bins; k++) {
      const v = counts[i * bins + k];
      if (!v) continue;
      d += `M${px(x(edges[k]) + 0.3)} ${box.bottom}V${px(y(v))}`;
      d += `H${px(x(edges[k + 1]) - 0.3)}V${box.bottom}Z`;
    }
    return d;
  });

  // the first histogram stays behind as an outline
  let outline = `M${px(left)} ${box.bottom}`;
  for (let k = 0; k < bins; k++) {
    outline += `V${px(counts[k] ? y(counts[k]) : box.bottom)}H${px(x(edges[k + 1]))}`;
  }
  path(frame.svg, "ghost", outline + `V${box.bottom}`);
  const told = `outline: ${spec.first || `${ctx.sign} = ${number(ctx.lams[0])}`}`;
  if (wide(told) + 190 < frame.width) text(frame.svg, box.right, 12, told, "label", "end");

  const drawZeros = zeros && zeroBar(frame, box, y, spec.zero || "exactly 0");
  return (i) => {
    shape(bars, barsAt(i));
    const sum = counts.subarray(i * bins, (i + 1) * bins).reduce((a, b) => a + b, 0);
    if (!zeros) return `${count(sum)} ${spec.noun}.`;
    drawZeros(zeros[i]);
    return `${count(zeros[i])} of ${count(sum + zeros[i])} ${spec.noun} are exactly 0.`;
  };
};

function zeroBar(frame, box, y, name) {
  const middle = box.left + 29;
  path(frame.svg, "axis", `M${box.left} ${box.bottom}h58`);
  const bar = path(frame.svg, "", "", { fill: color(2) });
  const amount = tint(text(frame.svg, middle, 0, "", "strong"), color(2));
  text(frame.svg, middle, box.bottom + 17, name, "tick");
  return (v) => {
    shape(bar, v ? `M${middle - 12} ${box.bottom}V${px(y(v))}h24V${box.bottom}Z` : "");
    amount.textContent = count(v);
    amount.setAttribute("y", px((v ? y(v) : box.bottom) - 5));
  };
}
