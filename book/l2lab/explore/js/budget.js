// What is left of a weight without gradient under weight decay; the same as l2lab/budget.py.
PANELS.budget = (spec, arrays, ctx, frame) => {
  const run = (frame.kept.run ||= { ...spec });
  if (frame.stage.firstChild === frame.svg) frame.stage.prepend(runForm(run, frame));
  const T = run.steps;
  const momentum = run.optimizer === "sgd" ? run.momentum : 0;
  const rates = Float64Array.from({ length: T }, (_, t) => run.lr * SCHEDULES[run.schedule](t / T));
  const sums = new Float64Array(T + 1);
  rates.forEach((rate, t) => (sums[t + 1] = sums[t] + rate));

  const marks = logTicks(-8, 0, 5);
  const box = plotBox(frame, marks.map(([, t]) => t), Math.max(12, wide(count(T)) / 2));
  const x = linear(0, T, box.left, box.right);
  const height = linear(-8, 0, box.bottom, box.top);
  const y = (share) => height(Math.log10(clamp(share, 1e-9, 9)));
  yAxis(frame, box, marks.map(([v, t]) => [y(v), t]), "share that is left, log axis");
  const xTicks = ticks(0, T, (box.right - box.left) / 70).filter(Number.isInteger);
  xAxis(frame, box, xTicks.map((t) => [x(t), count(t)]), "step");

  const area = clipTo(frame, box);
  for (const [v] of LEVELS) path(area, "level", `M${box.left} ${px(y(v))}H${box.right}`);
  const real = path(area, "line bold", "", { stroke: color(1) });
  const dashed = { stroke: color(2), "stroke-dasharray": DASH[1] };
  const rule = path(area, "line", "", dashed);
  for (const [v, t] of LEVELS) text(frame.svg, box.left + 4, y(v) - 5, t, "label halo", "start");
  const dots = LEVELS.map(() => svg("circle", { r: 4.5, fill: color(1), class: "dot" }, area));
  frame.legend([
    ["line", color(1), "step by step"],
    ["line", color(2), "e^(−B)", DASH[1]],
  ]);

  const N = Math.min(T, 400);
  const step = (k) => Math.round((k * T) / N);
  const line = (share) => polyline(N + 1, (k) => x(step(k)), (k) => y(share(step(k))));
  const swings = (1 - Math.sqrt(momentum)) ** 2;
  const limit = 2 * (1 + momentum);
  const need = (Math.log(1e3) * (1 - momentum)) / sums[T];
  const needed = `λ needed for 10⁻³ in these steps: about ${number(need)}`;
  const advice = run.lr * need > swings ? " (it would swing there: take more steps)" : "";
  return (i) => {
    const lam = ctx.lams[i];
    const budget = (t) => (lam * sums[t]) / (1 - momentum);
    const product = run.lr * lam;
    const diverges = product >= limit;
    const left = diverges ? [] : decay(rates, lam, momentum);
    const from = LEVELS.map(([level]) => left.findIndex((v) => v < level));
    shape(real, diverges ? "" : line((t) => left[t]));
    shape(rule, diverges ? "" : line((t) => Math.exp(-budget(t))));
    dots.forEach((dot, k) => {
      const visibility = from[k] < 0 ? "hidden" : "visible";
      put(dot, { cx: px(x(from[k])), cy: px(y(LEVELS[k][0])), visibility });
    });

    const told = [`B = ${number(budget(T))}`];
    if (diverges) {
      told[0] += `, but the decay diverges: learning rate · λ = ${number(product)}`;
      told[0] += ` is not below ${number(limit)}.`;
    } else {
      told[0] += `: e^(−B) is ${shareText(Math.exp(-budget(T)))};`;
      told.push(`step by step ${shareText(left[T])} is left after ${count(T)} steps.`);
      if (product > swings) {
        told.push("The weight swings around 0, and e^(−B) does not hold: learning rate · λ =");
        told.push(`${number(product)} is above ${number(swings)}.`);
      }
      const [dead, gone] = from.map((t) =>
        t < 0 ? "not within these steps" : `from step ${count(t)}`,
      );
      told.push(`Below 10⁻³: ${dead}; below 10⁻⁶: ${gone}.`);
    }
    return [...told, needed + advice].join(" ") + ".";
  };
};

const LEVELS = [[1e-3, "1/1000: dead, B ≈ 7"], [1e-6, "10⁻⁶, B ≈ 14"]];
const SCHEDULES = {
  constant: () => 1,
  cosine: (part) => 0.5 * (1 + Math.cos(Math.PI * part)),
  linear: (part) => 1 - part,
};

function shareText(v) {
  if (v < 1e-30) return "less than 10⁻³⁰";
  return v < 1e-3 ? number(v) : number(100 * v) + " %";
}

// Share after each step, as torch.optim.SGD; of a swinging weight the largest share from a step on.
function decay(rates, lam, momentum) {
  const T = rates.length;
  const out = new Float64Array(T + 1);
  let w = 1;
  let velocity = 0;
  out[0] = w;
  for (let t = 0; t < T && Math.abs(w) + Math.abs(velocity) > 1e-60; t++) {
    velocity = momentum * velocity + lam * w;
    w -= rates[t] * velocity;
    out[t + 1] = Math.abs(w);
  }
  for (let t = T - 1; t >= 0; t--) out[t] = Math.max(out[t], out[t + 1]);
  return out;
}

const RULES = {
  lr: "The learning rate must be above 0.",
  steps: "Steps must be a whole number from 1 to 1,000,000.",
  momentum: "Momentum must be at least 0 and below 1.",
};

// Fields of the run, which the browser checks. While one is not valid, the last valid run stays.
function runForm(run, frame) {
  const wrong = html("span", { className: "lx-wrong", role: "status", id: newId() });
  const look = { type: "number", required: true, step: "any", min: 0 };
  const menu = (...options) => html("select", {}, ...options.map((o) => new Option(...o)));
  const fields = {
    lr: html("input", { ...look, min: 1e-9 }),
    steps: html("input", { ...look, min: 1, max: 1e6, step: 1 }),
    momentum: html("input", { ...look, max: 0.999999 }),
    schedule: menu(...Object.keys(SCHEDULES).map((name) => [name, name])),
    optimizer: menu(["SGD", "sgd"], ["AdamW", "adamw"]),
  };
  const useMomentum = () => (fields.momentum.disabled = fields.optimizer.value !== "sgd");
  const read = () => {
    useMomentum(); // a disabled field is always valid
    const bad = Object.keys(RULES).filter((key) => !fields[key].checkValidity());
    for (const key in RULES) fields[key].setAttribute("aria-invalid", bad.includes(key));
    const said = [...bad.map((key) => RULES[key]), "Drawn is the last valid run."];
    wrong.textContent = bad.length ? said.join(" ") : "";
    if (bad.length) return;
    for (const key in fields) {
      const { value } = fields[key];
      run[key] = key in RULES ? +value : value;
    }
    frame.drawAgain();
  };
  const labels = Object.entries(fields).map(([key, field]) => {
    field.value = run[key];
    field.oninput = read;
    const label = key === "lr" ? "Learning rate" : key[0].toUpperCase() + key.slice(1);
    return html("label", {}, label, put(field, { "aria-describedby": wrong.id }));
  });
  useMomentum();
  // no key may reach the notebook, where digits are commands
  const onkeydown = (event) => event.stopPropagation();
  const group = { className: "lx-form", role: "group", ariaLabel: "Run", onkeydown };
  return html("div", group, ...labels, wrong);
}
