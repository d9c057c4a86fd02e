// Two weights: loss contours, ball, diamond or box, and where they touch. The reader can drag w*.
PANELS.geometry = (spec, arrays, ctx, frame) => {
  const R = spec.extent;
  const marks = ticks(-R, R, 4);
  const outer = plotBox(frame, marks.map(short));
  const unit = Math.min(outer.right - outer.left, outer.bottom - outer.top) / 2 / R;
  // equal units, with the origin in the middle
  const x = (u) => (outer.left + outer.right) / 2 + u * unit;
  const y = (v) => (outer.top + outer.bottom) / 2 - v * unit;
  const box = { left: x(-R), right: x(R), top: y(R), bottom: y(-R) };
  yAxis(frame, box, numbered(y, marks), "", false);
  xAxis(frame, box, numbered(x, marks), "");
  text(frame.svg, box.right, box.bottom + 34, "w₁", "label", "end");
  text(frame.svg, box.left - 4, box.top - 8, "w₂", "label", "end");
  const area = clipTo(frame, { ...box, top: box.top + 5 });
  path(area, "zero", `M${box.left} ${y(0)}H${box.right}M${x(0)} ${box.top}V${box.bottom}`);

  const bowl = quadratic(spec.hessian);
  const ellipse = (w, level) => {
    const [u, v] = bowl.ellipse(w, level);
    return polyline(73, (n) => x(u(n)), (n) => y(v(n))) + "Z";
  };
  const rings = path(area, "contour");
  const bodies = spec.norms.map((norm) => {
    const p = BODIES[norm];
    const hue = color(p.color);
    return {
      ...p,
      set: path(area, "ball", "", { fill: hue, stroke: hue }),
      touch: path(area, "touch", "", { stroke: hue }),
      path: path(area, "line thin", "", { stroke: hue }),
      dot: svg(p.mark, { ...p.markSize, fill: hue, class: "dot" }, area),
    };
  });
  const star = path(area, "star", "M-7 0H7M0 -7V7");
  const name = text(frame.svg, 0, 0, "w*", "strong halo", "start");
  frame.legend([
    ["line", color(6), "loss contours"],
    ...bodies.map((p) => [p.keyMark || p.mark, color(p.color), p.key]),
    ["plus", "currentColor", "w*, drag it"],
  ]);
  const handle = knob(spec, ctx, frame, (left, top) => [
    (left - x(0)) / unit,
    (y(0) - top) / unit,
  ]);

  const moveStar = (w) => {
    moveTo(star, x(w[0]), y(w[1]));
    put(name, {
      x: px(clamp(x(w[0]) + 9, box.left, box.right - 16)),
      y: px(clamp(y(w[1]) - 8, box.top + 12, box.bottom)),
    });
    handle.style.left = (100 * x(w[0])) / frame.width + "%";
    handle.style.top = (100 * y(w[1])) / frame.height + "%";
    const spoken = `w star = ${w[0].toFixed(2)}, ${w[1].toFixed(2)}`;
    put(handle, { "aria-valuenow": +w[0].toFixed(2), "aria-valuetext": spoken });
    const top = bowl.level([0, 0], w) || 1;
    const levels = [0.25, 0.5, 0.75, 1, 1.25, 1.5];
    shape(rings, levels.map((share) => ellipse(w, share * top)).join(""));
    for (const p of bodies) {
      const found = ctx.lams.map((lam) => p.solve(spec.hessian, w, lam));
      const line = polyline(found.length, (n) => x(found[n][0]), (n) => y(found[n][1]));
      shape(p.path, line);
    }
  };
  let seen = "";
  return (i) => {
    const w = ctx.w();
    if (seen !== String(w)) moveStar(w);
    seen = String(w);
    const lam = ctx.lams[i];
    const said = bodies.map((p) => {
      const found = p.solve(spec.hessian, w, lam);
      shape(p.set, p.body(found, unit, x(0), y(0), lam));
      shape(p.touch, ellipse(w, bowl.level(found, w)));
      moveTo(p.dot, x(found[0]), y(found[1]));
      return `${p.name}: ŵ = (${number(found[0])}, ${number(found[1])}), ${p.tell(found, lam)}`;
    });
    return said.join(" ");
  };
};

function zerosText(w) {
  const zeros = ["w₁", "w₂"].filter((_, j) => w[j] === 0);
  if (!zeros.length) return "no weight is 0.";
  return `${list(zeros)} ${zeros.length > 1 ? "are" : "is"} exactly 0.`;
}

function wallText(w, lam) {
  if (!lam) return "there is no box at λ = 0.";
  const at = ["w₁", "w₂"].filter((_, j) => Math.abs(w[j]) === 1 / lam);
  const half = number(1 / lam);
  if (!at.length) return `inside its box, whose walls are at ±${half}.`;
  return `${list(at)} at ${at.length > 1 ? "the walls, a corner" : "a wall"}: ±${half}.`;
}

// The loss √((u − w)ᵀ H (u − w)) and its ellipses, from the eigenvalues and axes of H.
function quadratic([[a, b], [, c]]) {
  const middle = (a + c) / 2;
  const spread = Math.hypot((a - c) / 2, b);
  const angle = 0.5 * Math.atan2(2 * b, a - c);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [root1, root2] = [Math.sqrt(middle + spread), Math.sqrt(middle - spread)];
  const level = (u, w) => {
    const [d0, d1] = [u[0] - w[0], u[1] - w[1]];
    return Math.sqrt(a * d0 * d0 + 2 * b * d0 * d1 + c * d1 * d1);
  };
  const ellipse = (w, r) => {
    const along = (n) => r * Math.cos((n * Math.PI) / 36);
    const across = (n) => r * Math.sin((n * Math.PI) / 36);
    return [
      (n) => w[0] + (along(n) * cos) / root1 - (across(n) * sin) / root2,
      (n) => w[1] + (along(n) * sin) / root1 + (across(n) * cos) / root2,
    ];
  };
  return { level, ellipse };
}

// (H + λI)⁻¹ H w
function ridge([[a, b], [, c]], w, lam) {
  const g0 = a * w[0] + b * w[1];
  const g1 = b * w[0] + c * w[1];
  const D = (a + lam) * (c + lam) - b * b;
  return [((c + lam) * g0 - b * g1) / D, ((a + lam) * g1 - b * g0) / D];
}

// Exact: compares the stationary points of all sign patterns.
function lasso([[a, b], [, c]], w, lam) {
  const g0 = a * w[0] + b * w[1];
  const g1 = b * w[0] + c * w[1];
  const soft = (g) => Math.sign(g) * Math.max(Math.abs(g) - lam, 0);
  const points = [[0, 0], [soft(g0) / a, 0], [0, soft(g1) / c]];
  for (const s0 of [1, -1]) {
    for (const s1 of [1, -1]) {
      const [p0, p1, D] = [g0 - lam * s0, g1 - lam * s1, a * c - b * b];
      const [u, v] = [(c * p0 - b * p1) / D, (a * p1 - b * p0) / D];
      if (u * s0 > 0 && v * s1 > 0) points.push([u, v]);
    }
  }
  const loss = ([u, v]) => {
    const bowl = 0.5 * (a * u * u + 2 * b * u * v + c * v * v) - g0 * u - g1 * v;
    return bowl + lam * (Math.abs(u) + Math.abs(v));
  };
  return leastBy(loss, points).map((v) => v || 0); // no −0
}

// The minimum with |w₁|, |w₂| ≤ 1/λ. Outside the box it lies on a wall: the best of the four.
function boxed([[a, b], [, c]], w, lam) {
  const half = 1 / lam; // no box at λ = 0
  if (Math.max(Math.abs(w[0]), Math.abs(w[1])) <= half) return [...w];
  const points = [];
  for (const wall of [-half, half]) {
    points.push([wall, clamp(w[1] - (b * (wall - w[0])) / c, -half, half)]);
    points.push([clamp(w[0] - (b * (wall - w[1])) / a, -half, half), wall]);
  }
  const loss = (u) => {
    const [p, q] = [u[0] - w[0], u[1] - w[1]];
    return a * p * p + 2 * b * p * q + c * q * q;
  };
  return leastBy(loss, points);
}

const around = (x, y, t) => [x - t, x + t, y - t, y + t].map(px);

const BODIES = {
  l2: {
    name: "Ridge", key: "ridge ŵ on its ball", color: 1,
    mark: "circle", markSize: { r: 5.5 },
    solve: ridge, tell: zerosText,
    body: (w, unit, x, y) => disc(x, y, +(Math.hypot(...w) * unit).toFixed(2)),
  },
  l1: {
    name: "Lasso", key: "lasso ŵ on its diamond", color: 2,
    mark: "rect", markSize: { x: -5, y: -5, width: 10, height: 10 },
    solve: lasso, tell: zerosText,
    body: (w, unit, x, y) => {
      const [left, right, top, bottom] = around(x, y, (Math.abs(w[0]) + Math.abs(w[1])) * unit);
      return `M${left} ${px(y)}L${px(x)} ${top}L${right} ${px(y)}L${px(x)} ${bottom}Z`;
    },
  },
  linf: {
    name: "AdamW", key: "AdamW ŵ in its box", color: 3,
    mark: "path", markSize: { d: "M0 -6.5L6 5H-6Z" }, keyMark: "triangle",
    solve: boxed, tell: wallText,
    // Its size does not depend on the data; a box larger than the picture fills it.
    body: (w, unit, x, y, lam) => {
      const [left, right, top, bottom] = around(x, y, Math.min(unit / lam, 1e4));
      return `M${left} ${top}H${right}V${bottom}H${left}Z`;
    },
  },
};

// An HTML handle over the drawing: 44 pixels for the finger, keyboard, a role for screen readers.
function knob(spec, ctx, frame, toWeights) {
  const R = spec.extent;
  const handle = html("div", {
    className: "lx-knob",
    tabIndex: 0,
    role: "slider",
    ariaLabel: "Minimum of the loss without penalty, w star. Arrow keys move it, Home puts it back",
    ariaValueMin: plain(-R),
    ariaValueMax: plain(R),
    ariaRoleDescription: "movable point",
  });
  frame.stage.append(handle);
  const go = (w, done) => ctx.setW(w.map((v) => +clamp(v, -R, R).toFixed(3)), done);
  const follow = (event, done) => {
    const r = frame.svg.getBoundingClientRect();
    const left = ((event.clientX - r.left) / r.width) * frame.width;
    const top = ((event.clientY - r.top) / r.height) * frame.height;
    go(toWeights(left, top), done);
  };
  handle.onpointerdown = (event) => {
    if (event.button !== 0) return;
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    event.preventDefault();
  };
  handle.onpointermove = (event) => {
    if (handle.hasPointerCapture(event.pointerId)) follow(event, false);
  };
  handle.onpointerup = (event) => follow(event, true);
  handle.onkeydown = (event) => {
    const step = (R / 20) * (event.shiftKey ? 0.1 : 1);
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (move) go(ctx.w().map((v, j) => v + step * move[j]), true);
    else if (event.key === "Home") go(spec.w_star, true);
    else return;
    event.preventDefault();
  };
  return handle;
}
