// The λ calculator: a planned run in a form, λ in its other units, and what decay alone leaves of a
// weight. runOf and planOf are decay_plan of l2lab/budget.py; tests compare them.
PANELS.calculator = (spec, arrays, ctx, frame) => {
  const show = (frame.show ||= planForm(spec, ctx, frame));
  const { run } = frame;
  const { rates, sums, steps: T, momentum } = run;

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
  const rule = path(area, "line", "", { stroke: color(2), "stroke-dasharray": DASH[1] });
  for (const [v, t] of LEVELS) text(frame.svg, box.left + 4, y(v) - 5, t, "label halo", "start");
  const dots = LEVELS.map(() => svg("circle", { r: 4.5, fill: color(1), class: "dot" }, area));
  frame.legend([["line", color(1), "step by step"], ["line", color(2), "e^(−B)", DASH[1]]]);

  const N = Math.min(T, 400);
  const step = (k) => Math.round((k * T) / N);
  const line = (share) => polyline(N + 1, (k) => x(step(k)), (k) => y(share(step(k))));
  return (i) => {
    const lam = ctx.lams[i];
    const diverges = lam >= run.diverges;
    const budget = (t) => (lam * sums[t]) / (1 - momentum);
    const left = diverges ? [] : decay(rates, lam, momentum);
    const from = LEVELS.map(([level]) => left.findIndex((v) => v < level));
    shape(real, diverges ? "" : line((t) => left[t]));
    shape(rule, diverges ? "" : line((t) => Math.exp(-budget(t))));
    dots.forEach((dot, k) => {
      const visibility = from[k] < 0 ? "hidden" : "visible";
      put(dot, { cx: px(x(from[k])), cy: px(y(LEVELS[k][0])), visibility });
    });
    frame.spoken = show(lam);
    if (diverges) return "Nothing is drawn: the weight grows without bound.";
    const when = (t) => (t < 0 ? "not within these steps" : `from step ${count(t)}`);
    const told = `B = ${number(budget(T))}; step by step ${shareText(left[T])} is left after`;
    return `${told} ${count(T)} steps. Below 10⁻³: ${when(from[0])}; below 10⁻⁶: ${when(from[1])}.`;
  };
};

const shareText = (v) =>
  v < 1e-30 ? "less than 10⁻³⁰" : v < 1e-3 ? number(v) : number(100 * v) + " %";
const LEVELS = [[1e-3, "1/1000: dead, B ≈ 7"], [1e-6, "10⁻⁶, B ≈ 14"]];
const SCHEDULES = {
  constant: () => 1,
  cosine: (part) => 0.5 * (1 + Math.cos(Math.PI * part)),
  linear: (part) => 1 - part,
};

// What a run has without λ.
function runOf(run) {
  const { lr, schedule } = run;
  const momentum = run.optimizer === "sgd" ? run.momentum : 0;
  const perEpoch = Math.ceil(run.n / run.batch_size);
  const steps = Math.max(1, Math.round(run.epochs * perEpoch));
  const rates = Float64Array.from({ length: steps }, (_, t) => lr * SCHEDULES[schedule](t / steps));
  const sums = new Float64Array(steps + 1);
  rates.forEach((rate, t) => (sums[t + 1] = sums[t] + rate));
  const swings = (1 - Math.sqrt(momentum)) ** 2 / lr;
  const diverges = (2 * (1 + momentum)) / lr;
  return { ...run, momentum, perEpoch, steps, rates, sums, swings, diverges };
}

const timescale = (lam, run) => (1 - run.momentum) / (run.lr * lam);

function planOf(lam, run) {
  const { perEpoch, steps, fan_in, swings, diverges } = run;
  const tau = timescale(lam, run);
  const budget = (lam * run.sums[steps]) / (1 - run.momentum);
  const share = Math.exp(-budget);
  const box = run.optimizer === "adamw" ? 1 / lam : Infinity;
  const [ratio, start] = [Math.LN2 / budget, 1 / Math.sqrt(fan_in)];
  const warnings = [
    lam >= diverges
      ? `The decay alone diverges: λ must be below ${number(diverges)} at this learning rate.`
      : lam > swings && `Weights swing around zero: the formulas hold for λ up to ${number(swings)}.`,
    lam && share > 0.5 &&
      "The run is too short for this λ: decay alone leaves " + Math.round(100 * share) + "% of a " +
      `weight. To halve it takes λ = ${number(lam * ratio)}, or ${number(ratio)} times the steps.`,
    tau < perEpoch &&
      "The weights forget within one epoch: rows seen early in it hardly count at its end.",
    fan_in && box < start &&
      `The box is tight: where AdamW comes to rest, no weight is larger than ${number(box)}, but a ` +
      `layer with ${fan_in} inputs starts in PyTorch with weights of up to ${number(start)}.`,
  ].filter(Boolean);
  return { steps, tau, epochs: tau / perEpoch, budget, share, box, warnings };
}

// Share after each step, as torch.optim.SGD; of a swinging weight the largest share from a step on.
function decay(rates, lam, momentum) {
  const T = rates.length;
  const out = new Float64Array(T + 1);
  let [w, velocity] = [1, 0];
  out[0] = w;
  for (let t = 0; t < T && Math.abs(w) + Math.abs(velocity) > 1e-60; t++) {
    velocity = momentum * velocity + lam * w;
    w -= rates[t] * velocity;
    out[t + 1] = Math.abs(w);
  }
  for (let t = T - 1; t >= 0; t--) out[t] = Math.max(out[t], out[t + 1]);
  return out;
}

// The same λ as others write it, with their names in l2lab/conventions.py.
const ELSEWHERE = {
  sgd: [
    ["Keras, L2(l2)", "keras_l2", (lam) => lam / 2],
    ["MLPClassifier(alpha)", "mlp_classifier", (lam, run) => lam * run.batch_size],
    ["LogisticRegression(C)", "logistic_C", (lam, run) => 1 / (lam * run.n)],
    ["Ridge(alpha)", "ridge", (lam, run) => lam * run.n],
  ],
  adamw: [
    ["Box, |w| ≤ 1/λ", "", (lam) => 1 / lam],
    ["λ′ of the AdamW paper", "adamw_paper", (lam, run) => lam * run.lr],
  ],
};

// Label, then options, or attributes and what is said of a value that is not valid.
const FIELDS = {
  optimizer: ["Optimizer", ["SGD", "sgd"], ["AdamW", "adamw"]],
  lr: ["Learning rate", { min: 1e-9 }, "must be above 0."],
  momentum: ["Momentum", { max: 0.999999 }, "must be at least 0 and below 1."],
  schedule: ["Schedule", ...Object.keys(SCHEDULES).map((name) => [name, name])],
  n: ["Training rows", { min: 1, step: 1 }, "must be a whole number of at least 1."],
  batch_size: ["Batch size", { min: 1, step: 1 }, "must be a whole number, at most the rows."],
  epochs: ["Epochs", { min: 1e-9 }, "must be above 0, with at most 1,000,000 steps in all."],
  fan_in: ["Inputs of a layer", { min: 1, step: 1, required: false }, "must be whole, or empty."],
  lam: ["λ", { value: 0 }, "must be at least 0."],
  tau: ["or τ, in epochs", { min: 1e-300, required: false }, "must be above 0."],
};

// Fields, which the browser checks, and the results; returns the function that shows those of a λ
// and says them. The last valid run is in frame.run, what the reader has changed in ctx.settings.
function planForm(spec, ctx, frame) {
  const wrong = html("span", { className: "lx-wrong", role: "status", id: newId() });
  const list = html("dl", {});
  const warnings = html("div", {});
  const fields = {};
  const keys = Object.keys(FIELDS).filter((key) => key in spec);
  const labels = Object.entries(FIELDS).map(([key, [label, ...more]]) => {
    const field = Array.isArray(more[0])
      ? html("select", { required: true }, ...more.map((option) => new Option(...option)))
      : html("input", { type: "number", required: true, step: "any", min: 0, ...more[0] });
    fields[key] = put(field, { "aria-describedby": wrong.id });
    field.oninput = () => read(key);
    field.onblur = ctx.redraw;
    return html("label", {}, label, field);
  });

  function check() {
    const { optimizer, momentum, n, batch_size, epochs, fan_in } = fields;
    momentum.disabled = optimizer.value === "adamw"; // a disabled field is always valid
    fan_in.disabled = !momentum.disabled;
    batch_size.max = n.value;
    epochs.max = 1e6 / Math.ceil(n.value / batch_size.value) || "";
    const bad = Object.keys(fields).filter((key) => !fields[key].checkValidity());
    for (const key in fields) fields[key].setAttribute("aria-invalid", bad.includes(key));
    const said = bad.map((key) => `${FIELDS[key][0]} ${FIELDS[key][2]}`);
    wrong.textContent = bad.length ? [...said, "Shown is the last valid plan."].join(" ") : "";
    return !bad.length;
  }

  function take() {
    const value = ({ type, value }) => (type === "number" && value ? +value : value);
    const all = keys.map((key) => [key, value(fields[key])]);
    frame.run = runOf(Object.fromEntries(all));
    ctx.settings = Object.fromEntries(all.filter(([key, v]) => v !== (spec[key] ?? "")));
  }

  function read(key) {
    if (!check()) return;
    const tau = fields.tau.value * frame.run.perEpoch;
    if (key === "lam") ctx.setLam(+fields.lam.value);
    else if (key === "tau") tau && ctx.setLam(timescale(tau, frame.run)); // the inverse as well
    else {
      take();
      frame.drawAgain();
    }
    ctx.remember();
  }

  function show(lam) {
    const { run } = frame;
    const plan = planOf(lam, run);
    for (const [key, v] of [["lam", lam], ["tau", plan.epochs]]) {
      if (!fields[key].matches(":focus")) fields[key].value = isFinite(v) ? plain(v, 4) : "";
    }
    check();
    const shown = (v) => (isFinite(v) ? number(v) : "∞");
    const need = Math.log(1e3) / planOf(1, run).budget;
    const rows = [
      ["Steps", `${count(run.steps)}, ${count(run.perEpoch)} per epoch`],
      ["Timescale τ", `${shown(plan.tau)} steps, ${shown(plan.epochs)} epochs`],
      ["Decay budget B", shown(plan.budget)],
      ["Left by decay, e^(−B)", lam < run.diverges ? shareText(plan.share) : "none: it diverges"],
      ["λ that leaves 1/1000", number(need) + (need > run.swings ? ", would swing" : "")],
      ...ELSEWHERE[run.optimizer].map(([name, , convert]) => [name, shown(convert(lam, run))]),
    ];
    const pair = ([name, v]) => html("div", {}, html("dt", {}, name), html("dd", {}, v));
    list.replaceChildren(...rows.map(pair));
    const said = plan.warnings.length ? plan.warnings : ["Nothing to warn of."];
    warnings.replaceChildren(...said.map((t) => html("p", {}, t)));
    warnings.className = plan.warnings.length ? "lx-warnings" : "lx-hint";
    return [...said, ...rows.map((row) => row.join(": "))].join(". ") + ".";
  }

  // an address may ask for what is not valid
  for (const asked of [ctx.settings, {}]) {
    for (const key of keys) fields[key].value = asked[key] ?? spec[key];
    if (check()) break;
  }
  take();
  const group = { className: "lx-form", role: "group", ariaLabel: "Plan" };
  const form = html("div", group, ...labels, wrong);
  form.onkeydown = (event) => event.stopPropagation(); // digits are commands of a notebook
  const results = html("div", { className: "lx-results" }, list, warnings);
  frame.stage.prepend(form, results, frame.stage.previousSibling); // and the legend
  return show;
}
