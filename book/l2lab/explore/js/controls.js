// The bar above the panels: play button, slider with its scale, read-out; below it what needs a
// kernel.

const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 2.5h3v11H4zm5 0h3v11H9z",
  step: "M3 2.5v11l7-5.5zM11 2.5h2.5v11H11z",
};
const TITLES = { play: "Play through λ", pause: "Pause", step: "Next λ" };

function sliderBar(ctx, player = playButton(ctx)) {
  const id = newId();
  const slider = html("input", { type: "range", id, min: 0, step: 1 });
  const readout = html("output", { htmlFor: id });
  const scale = html("div", { className: "lx-ticks", ariaHidden: "true" });
  const said = ctx.label === ctx.sign ? "lx-hidden" : "";
  const label = html("label", { htmlFor: id, textContent: ctx.label, className: said });
  const slide = html("div", { className: "lx-slide" }, label, slider, scale);
  const bar = html("div", { className: "lx-bar" }, player.button, slide, readout);
  ctx.listen(slider, "input", () => ctx.choose(+slider.value));

  function show(i) {
    const lam = ctx.lams[i];
    if (+slider.value !== i) slider.value = i;
    slider.setAttribute("aria-valuetext", `${ctx.sign} = ${plain(lam)}`);
    slider.style.setProperty("--at", i / (ctx.lams.length - 1));
    readout.textContent = `${ctx.sign} = ${number(lam)}`;
  }

  function rescale() {
    slider.max = ctx.lams.length - 1;
    scale.replaceChildren(...scaleMarks(ctx.model.get("lams")));
  }

  return { bar, player, show, rescale };
}

// Decades under the slider, which has equal steps whatever the grid is.
function scaleMarks(lams) {
  const { zero } = lamScale(lams, 0, 1);
  const last = lams.length - 1;
  const decades = logTicks(Math.log10(lams[zero]), Math.log10(lams[last]), 9);
  const place = (v) => {
    if (!v) return 0;
    let k = zero;
    while (k < last - 1 && lams[k + 1] <= v * (1 + 1e-9)) k++;
    const part = Math.log(v / lams[k]) / Math.log(lams[k + 1] / lams[k] || 2);
    return clamp(k + part, 0, last) / last;
  };
  return [...(zero ? [[0, "0"]] : []), ...decades].map(([v, t]) => {
    const at = place(v);
    const touchesZero = zero && at && at < 0.06;
    return touchesZero ? "" : html("span", { textContent: t, style: `--p:${at.toFixed(4)}` });
  });
}

// A round button; face() gives it one of the icons and says what it does.
function iconButton() {
  const picture = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" });
  const icon = svg("path", {}, picture);
  const button = html("button", { type: "button", className: "lx-play" }, picture);
  const face = (name, title) => {
    shape(icon, ICONS[name]);
    button.title = title;
    button.setAttribute("aria-label", title);
  };
  return { button, face };
}

// Plays through λ, or takes one step for those who asked for less motion.
function playButton(ctx) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const { button, face } = iconButton();
  let timer = 0;

  function show() {
    const now = timer ? "pause" : calm.matches ? "step" : "play";
    face(now, TITLES[now]);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    show();
  }

  const last = () => ctx.lams.length - 1;
  const atEnd = () => ctx.index() >= last();
  const next = () => ctx.move(atEnd() ? 0 : ctx.index() + 1);

  ctx.listen(button, "click", () => {
    if (timer) return stop();
    if (calm.matches) return next();
    if (atEnd()) ctx.move(0);
    const pause = clamp(6000 / ctx.lams.length, 70, 350);
    timer = setInterval(() => {
      next();
      if (atEnd()) stop();
    }, pause);
    show();
  });
  ctx.listen(calm, "change", stop);
  ctx.onClose(stop);
  show();
  return { button, stop };
}

// Menus that let Python compute anew.
function kernelControls(ctx, place) {
  const { model } = ctx;
  const controls = model.get("controls");
  if (!controls.length) return;
  if (ctx.isStatic) {
    const hint = `Run this notebook to change ${list(controls.map((c) => c.label))}.`;
    place.append(html("p", { className: "lx-hint", textContent: hint }));
    return;
  }
  const status = html("span", { className: "lx-status", role: "status" });
  let wanted = null;

  const ask = () => {
    if (!wanted || model.get("busy")) return;
    model.set("choice", { ...model.get("choice"), ...wanted });
    wanted = null;
    model.save_changes();
  };

  const menus = controls.map(({ name, label, options }) => {
    const asked = () => ({ ...model.get("choice"), ...wanted })[name];
    // while Python computes, only the last wish is kept
    const wish = (option) => {
      wanted = { ...wanted, [name]: option };
      ask();
    };
    const menu = field([label, options, options.map(String)], asked, wish);
    place.append(menu.element);
    return menu.follow;
  });
  place.append(status);

  const showBusy = () => {
    const busy = model.get("busy");
    ctx.root.classList.toggle("busy", busy);
    ctx.root.setAttribute("aria-busy", busy);
    status.textContent = busy ? "computing …" : "";
    if (!busy) ask();
  };
  ctx.onModel("busy", showBusy);
  ctx.onModel("choice", () => wanted || menus.forEach((follow) => follow()));
  showBusy();
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
  return { follow, element: html("span", { className: "lx-control" }, caption, input) };
}
