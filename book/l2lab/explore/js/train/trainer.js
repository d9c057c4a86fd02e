// The trainer: one or two sides, each with its slider over λ, its settings and its pictures; one
// clock drives them, in slices that leave the page its time.

const SLICE = 12; // milliseconds of training between two turns of the page
const PICTURE = 60; // milliseconds from one picture to the next
const SPEEDS = { slow: 1, medium: 10, fast: 100, full: Infinity }; // steps between two turns
const STEADY = ["lam", "lr", "steps"]; // may change while it trains; all else starts anew

function render({ model, el }) {
  const ctx = makeContext(model);
  const { root } = ctx;
  const clock = () => performance.now();
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const status = html("span", { className: "lx-status" });
  const tools = html("div", { className: "lx-extra" });
  const grid = html("div", { className: "lx-sides" });
  const say = speaker(ctx);
  let job = null; // what a turn does for a side; it answers whether there is more to do
  let timer = 0;
  let frame = 0;
  let drawn = 0;
  let pause = 0;
  let speed = model.get("speed");
  let remember = () => {};

  ctx.rgb = followTheme(ctx);
  ctx.redraw = () => {
    frame ||= requestAnimationFrame(draw);
  };
  ctx.changed = () => {
    model.set("state", sides.map((side) => ({ ...side.settings })));
    model.save_changes();
    remember();
    ctx.redraw();
  };
  ctx.play = () => (job ? halt() : work((side) => side.train(SPEEDS[speed], SLICE / sides.length)));
  const sides = model.get("state").map((start, k) => makeSide(ctx, start, k, clock));

  function work(next, hurry) {
    halt();
    sides.forEach((side) => side.begin());
    job = next;
    pause = hurry || speed === "full" ? 0 : 16;
    sides.forEach((side) => side.face(true));
    turn();
  }

  function turn() {
    const open = sides.filter((side) => job(side)).length;
    if (!open) return halt();
    timer = setTimeout(turn, pause);
    if (calm.matches || clock() - drawn < PICTURE) return;
    drawn = clock();
    ctx.redraw();
  }

  function halt() {
    clearTimeout(timer);
    job = null;
    sides.forEach((side) => side.face(false));
    ctx.redraw();
  }

  function draw() {
    frame = 0;
    if (!root.isConnected) return;
    const told = sides.flatMap((side) => side.draw());
    status.textContent = sides.map((side) => side.told()).join("; ");
    say([status.textContent, ...told]);
  }

  function fit() {
    family = getComputedStyle(root).fontFamily || family;
    sides.forEach((side) => side.fit());
    ctx.redraw();
  }

  const button = (textContent, act) => {
    const made = html("button", { type: "button", textContent });
    ctx.listen(made, "click", act);
    return made;
  };
  const each = (act) => () => {
    halt();
    sides.forEach(act);
    ctx.redraw();
  };
  tools.append(
    button("Step", each((side) => side.begin() || side.train(1, SLICE))),
    button("Reset", each((side) => side.set({}, true))),
  );
  if (model.get("controls").includes("sweep")) {
    tools.append(button("Train all λ", () => {
      work((side) => side.sweep(SLICE / sides.length), true);
    }));
  }
  if (model.get("controls").includes("speed")) {
    const choice = ["Speed", Object.keys(SPEEDS), Object.keys(SPEEDS)];
    tools.append(field(choice, () => speed, (v) => (speed = v)).element);
  }
  tools.append(status);
  grid.append(...sides.map((side) => side.element));
  root.append(tools, grid, ctx.live);
  el.append(root);
  halt();
  fit();
  const sizes = new ResizeObserver(fit);
  sizes.observe(grid);
  const take = (states) => {
    halt();
    sides.forEach((side) => side.take(states.get(side.name)));
  };
  const state = () => new Map(sides.map((side) => [side.name, side.settings]));
  if (ctx.isStatic) remember = linkAddress(ctx, tools, state, take);
  ctx.onModel("state", () => {
    const own = JSON.stringify(sides.map((side) => side.settings));
    if (JSON.stringify(model.get("state")) === own) return; // an echo of changed()
    take(new Map(sides.map((side, k) => [side.name, model.get("state")[k]])));
  });
  ctx.onClose(() => {
    halt();
    cancelAnimationFrame(frame);
    sizes.disconnect();
  });
  return ctx.close;
}

function makeSide(shared, start, k, clock) {
  const { model } = shared;
  const ctx = Object.create(shared);
  const letter = model.get("state").length > 1 ? "AB"[k] + ": " : "";
  ctx.label = ctx.sign = letter ? "λ of " + "AB"[k] : "λ";
  ctx.lams = model.get("lams");
  const settings = { ...start };
  const digits = bytesOf(model.get("digits"));
  let run = makeRun({ ...settings }, digits);
  let sweep = null;
  let swept = null;
  let horizon = settings.steps;
  let panels = [];

  ctx.index = () => ctx.lams.indexOf(settings.lam);
  ctx.choose = (i) => set({ lam: ctx.lams[i] });
  ctx.shown = () => (swept ? swept[ctx.index()] : run);
  ctx.swept = () => swept;
  ctx.horizon = () => horizon;

  const icon = svg("path", {});
  const picture = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" });
  picture.append(icon);
  const play = html("button", { type: "button", className: "lx-play" }, picture);
  ctx.listen(play, "click", ctx.play);
  const bar = sliderBar(ctx, { button: play });
  const form = html("div", { className: "lx-fields" });
  const alarm = html("p", { className: "lx-error", role: "alert", hidden: true });
  const grid = html("div", { className: "lx-panels" });
  const sideLook = { className: "lx-side", role: "group", ariaLabel: letter ? "AB"[k] : "Trainer" };
  const element = html("div", sideLook, bar.bar, form, alarm, grid);
  const choices = Object.entries(model.get("choices"));
  const fields = choices.map(([key, choice]) =>
    field(choice, () => settings[key], (v) => set({ [key]: v })),
  );
  form.append(...fields.map((one) => one.element));
  bar.rescale();
  build();

  function set(changes, anew) {
    const keep = !anew && Object.keys(changes).every((key) => STEADY.includes(key));
    if (swept && !(keep && "lam" in changes)) leave();
    Object.assign(settings, changes);
    sweep = null;
    if (!keep) run = makeRun({ ...settings }, digits);
    else if (!swept) Object.assign(run.state, { lam: settings.lam, lr: settings.lr });
    horizon = Math.max(settings.steps, run.t);
    if (!keep) build();
    fields.forEach((one) => one.follow());
    shared.changed();
  }

  // from the results of a sweep back to training: the run that is shown goes on
  function leave() {
    run = ctx.shown();
    swept = null;
    build();
  }

  function build() {
    const wanted = Object.keys(VIEWS).filter((view) => model.get("views").includes(view));
    const fitting = wanted.filter((view) => VIEWS[view].fits(run));
    const specs = fitting.map((view) => ({ kind: "run", view, title: VIEWS[view].title }));
    if (swept) specs.unshift({ kind: "along", title: "Loss at the end for each λ" });
    panels = specs.map((spec) => makePanel(spec, {}, ctx, {}));
    grid.replaceChildren(...panels.map((panel) => panel.figure));
    if (element.isConnected) fit();
  }

  function fit() {
    const widths = panels.map((panel) => panel.width());
    panels.forEach((panel, i) => panel.layout(widths[i]));
  }

  function draw() {
    const i = ctx.index();
    const now = ctx.shown();
    now.remember();
    bar.show(i);
    const wrong = `Diverged at step ${now.t}: a number has become too large, and training stopped. `;
    alarm.hidden = !now.diverged;
    const advice = wrong + "Lower the learning rate or λ, then press Reset.";
    if (alarm.textContent !== advice) alarm.textContent = now.diverged ? advice : "";
    return [`${ctx.sign} = ${plain(settings.lam)}`, ...panels.map((panel) => panel.draw(i))];
  }

  return {
    name: model.get("name") + (k ? "-b" : ""),
    element, settings, set, fit, draw,
    take: (next) => next && set(legal(next, start, choices, ctx.lams), true),
    face: (busy) => {
      shape(icon, ICONS[busy ? "pause" : "play"]);
      play.title = busy ? "Pause" : "Train";
      play.setAttribute("aria-label", play.title);
    },
    told: () => {
      if (sweep) return `${letter}all λ: ${Math.round(100 * sweep.done)} %`;
      const { t, history } = ctx.shown();
      const words = `step ${count(t)}, test loss ${number(history.at(-1).test, 2)}`;
      return `${letter}${words}, ${countAlive(ctx.shown())} inputs alive`;
    },
    begin: () => {
      if (swept) leave();
      sweep = null;
      if (run.t >= horizon) horizon = run.t + settings.steps;
    },
    train: (enough, most) => {
      slice(run, Math.min(enough, horizon - run.t), most, clock);
      return !run.diverged && run.t < horizon;
    },
    sweep: (most) => {
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
function legal(wanted, start, choices, lams) {
  const near = (values, v) => leastBy((own) => Math.abs(own - v), values);
  const found = { ...start };
  for (const [key, [, values]] of [["lam", ["", lams]], ...choices]) {
    const told = wanted[key];
    if (values.includes(told)) found[key] = told;
    else if (told !== undefined && isFinite(+told)) found[key] = near(values, +told);
  }
  return found;
}

// A choice is [label, values, names]: a menu of names or, without them, a slider over the values.
function field([label, values, names], get, set) {
  const id = newId();
  const caption = html("label", { htmlFor: id });
  const options = (names || []).map((name, i) => new Option(name, i));
  const range = { type: "range", id, min: 0, max: values.length - 1 };
  const input = names ? html("select", { id }, ...options) : html("input", range);
  const follow = () => {
    input.value = values.indexOf(get());
    caption.textContent = names ? label : `${label}: ${number(get())}`;
    if (!names) input.setAttribute("aria-valuetext", plain(get()));
    input.style.setProperty("--at", input.value / (values.length - 1));
  };
  input.oninput = () => {
    set(values[+input.value]);
    follow();
  };
  follow();
  return { follow, element: html("span", { className: "lx-field" }, caption, input) };
}

export default { render };
