// The trainer: one or two sides, each with its slider over λ, its settings and its pictures; one
// clock drives them, in slices that leave the page its time.

const SLICE = 12; // milliseconds of training between two turns of the page
const PICTURE = 60; // milliseconds from one picture to the next, at least
const SPEEDS = { slow: 1, medium: 10, fast: 100, full: Infinity }; // steps between two turns
const STEADY = ["lam", "lr", "steps"]; // may change while it trains; all else starts anew
const SHARED = ["data", "noise", "rows", "seed"]; // two sides are compared on the same rows
const clock = () => performance.now();

function render({ model, el }) {
  const ctx = makeContext(model);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const status = html("span", { className: "lx-status" });
  const tools = html("div", { className: "lx-extra" });
  const grid = html("div", { className: "lx-sides" });
  let job = null; // what a turn does for a side; it answers whether there is more to do
  let timer = 0;
  let drawn = 0;
  let pace = PICTURE;
  let speed = model.get("speed");
  let remember = () => {};

  ctx.rgb = followTheme(ctx);
  ctx.changed = () => {
    model.set("state", sides.map((side) => ({ ...side.settings })));
    model.save_changes();
    remember();
    ctx.redraw();
  };
  ctx.setAll = (changes) => sides.forEach((side) => side.set(changes));
  const train = (side) => side.train(SPEEDS[speed], SLICE / sides.length);
  const sweep = (side) => side.sweep(SLICE / sides.length);
  ctx.play = () => (job ? halt() : work(train));
  const sides = model.get("state").map((start, k) => makeSide(ctx, start, k));
  const fit = drawInFrames(ctx, grid, draw, () => sides.forEach((side) => side.fit()));

  function work(next) {
    halt();
    job = next;
    sides.forEach((side) => side.begin());
    sides.forEach((side) => side.face("pause", "Pause"));
    turn();
  }

  function turn() {
    if (!sides.filter((side) => job(side)).length) return halt();
    timer = setTimeout(turn, speed === "full" || job === sweep ? 0 : 16);
    if (calm.matches || clock() - drawn < pace) return;
    drawn = clock();
    ctx.redraw();
  }

  function halt() {
    clearTimeout(timer);
    job = null;
    sides.forEach((side) => side.face("play", "Train"));
    ctx.redraw();
  }

  function draw() {
    const begin = clock();
    const told = sides.flatMap((side) => side.draw());
    pace = Math.max(PICTURE, 4 * (clock() - begin));
    status.textContent = sides.map((side) => side.told()).join("; ");
    return [status.textContent, ...told];
  }

  const button = (textContent, act) => {
    const made = html("button", { type: "button", textContent });
    ctx.listen(made, "click", () => {
      halt();
      act();
    });
    return made;
  };
  const names = Object.keys(SPEEDS);
  const parts = {
    step: button("Step", () => sides.forEach((side) => side.begin() || side.train(1, SLICE))),
    reset: button("Reset", () => sides.forEach((side) => side.set({}, true))),
    sweep: button("Train all λ", () => work(sweep)),
    speed: field(["Speed", names, names], () => speed, (v) => (speed = v)).element,
  };
  const shown = ["step", "reset", ...model.get("controls")].filter((name) => name in parts);
  tools.append(...shown.map((name) => parts[name]), status);
  grid.append(...sides.map((side) => side.element));
  ctx.root.append(tools, grid, ctx.live);
  el.append(ctx.root);
  halt();
  fit();
  const take = (states) => {
    halt();
    sides.forEach((side) => side.take(states.get(side.name)));
  };
  const state = () => new Map(sides.map((side) => [side.name, side.settings]));
  if (ctx.isStatic) remember = linkAddress(ctx, tools, state, take);
  ctx.onModel("state", () => {
    // an echo of changed()
    if (JSON.stringify(model.get("state")) === JSON.stringify([...state().values()])) return;
    take(new Map(sides.map((side, k) => [side.name, model.get("state")[k]])));
  });
  ctx.onClose(halt);
  return ctx.close;
}

function makeSide(shared, start, k) {
  const { model } = shared;
  const ctx = Object.create(shared);
  const letter = model.get("state").length > 1 ? "AB"[k] : "";
  ctx.label = ctx.sign = letter ? "λ of " + letter : "λ";
  ctx.lams = model.get("lams");
  const settings = { lam: start.lam, ...start }; // λ begins the address
  const digits = bytesOf(model.get("digits"));
  let run = makeRun({ ...settings }, digits);
  let sweep = null; // that is under way
  let swept = null; // the runs of one that is done
  let horizon = settings.steps;
  let panels = [];

  ctx.index = () => ctx.lams.indexOf(settings.lam);
  ctx.choose = (i) => set({ lam: ctx.lams[i] });
  ctx.shown = () => (swept ? swept[ctx.index()] : run);
  ctx.swept = () => swept;
  ctx.horizon = () => horizon;

  const { button, face } = iconButton();
  ctx.listen(button, "click", ctx.play);
  const bar = sliderBar(ctx, { button });
  const alarm = html("p", { className: "lx-error", role: "alert", hidden: true });
  const grid = html("div", { className: "lx-panels" });
  const choices = model.get("choices").map(([key, ...choice]) => [key, choice]);
  const change = (key, value) => (SHARED.includes(key) ? shared.setAll : set)({ [key]: value });
  const fields = choices.map(([key, choice]) =>
    field(choice, () => settings[key], (v) => change(key, v)),
  );
  const form = html("div", { className: "lx-fields" }, ...fields.map((one) => one.element));
  const look = { className: "lx-side", role: "group", ariaLabel: letter || "Trainer" };
  const element = html("div", look, bar.bar, form, alarm, grid);
  bar.rescale();
  build();

  function set(changes, anew) {
    const keep = !anew && Object.keys(changes).every((key) => STEADY.includes(key));
    if (!keep || !("lam" in changes)) leave();
    Object.assign(settings, changes);
    if (!keep) run = makeRun({ ...settings }, digits);
    if (!swept) Object.assign(run.state, { lam: settings.lam, lr: settings.lr });
    horizon = Math.max(settings.steps, run.t);
    if (!keep) build();
    fields.forEach((one) => one.follow());
    shared.changed();
  }

  // from a sweep back to training: the run that is shown goes on
  function leave() {
    sweep = null;
    if (!swept) return;
    run = ctx.shown();
    swept = null;
    build();
  }

  function build() {
    const wanted = Object.keys(VIEWS).filter((view) => model.get("views").includes(view));
    const fitting = wanted.filter((view) => VIEWS[view].fits(run));
    const specs = fitting.map((view) => ({ kind: "run", view, title: VIEWS[view].title }));
    if (swept) specs.unshift({ kind: "along", title: "Loss at the end for each λ" });
    panels = specs.map((spec) => makePanel(spec, {}, ctx));
    grid.replaceChildren(...panels.map((panel) => panel.figure));
    if (element.isConnected) fitPanels(panels);
  }

  function draw() {
    const now = ctx.shown();
    now.remember();
    bar.show(ctx.index());
    const advice = "A number became too large. Lower the learning rate or λ, then press Reset.";
    const wrong = now.diverged ? `Diverged at step ${count(now.t)}. ${advice}` : "";
    if (alarm.textContent !== wrong) alarm.textContent = wrong;
    alarm.hidden = !wrong;
    const told = panels.map((panel) => panel.draw(ctx.index()));
    return [`${ctx.sign} = ${plain(settings.lam)}`, ...told];
  }

  return {
    name: model.get("name") + (k ? "-b" : ""),
    element, settings, set, draw, face,
    fit: () => fitPanels(panels),
    take: (next) => next && set(legal(next, start, [["lam", ["", ctx.lams]], ...choices]), true),
    told: () => {
      const who = letter && letter + ": ";
      if (sweep) return `${who}all λ: ${Math.round(100 * sweep.done)} %`;
      const { t, history, diverged } = ctx.shown();
      const begin = `${who}${diverged ? "diverged at " : ""}step ${count(t)}, test loss`;
      return `${begin} ${number(history.at(-1).test, 2)}, ${countAlive(ctx.shown())} inputs alive`;
    },
    begin: () => {
      leave();
      if (run.t >= horizon) horizon = run.t + settings.steps;
    },
    train: (enough, most) => {
      slice(run, Math.min(enough, horizon - run.t), most, clock);
      return !run.diverged && run.t < horizon;
    },
    sweep: (most) => {
      if (swept) return false;
      sweep ||= makeSweep(settings, ctx.lams, settings.steps, digits, clock);
      sweep.done = sweep.next(most);
      if (sweep.done < 1) return true;
      swept = sweep.runs;
      sweep = null;
      horizon = settings.steps;
      build();
      return false;
    },
  };
}

// Values that an address or Python asks for, each replaced by the nearest that the trainer has.
function legal(wanted, start, choices) {
  const found = { ...start };
  for (const [key, [, values]] of choices) {
    const told = wanted[key] ?? NaN;
    if (values.includes(told)) found[key] = told;
    else if (isFinite(told)) found[key] = leastBy((own) => Math.abs(own - told), values);
  }
  return found;
}

export default { render };
