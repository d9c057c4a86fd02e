// The explorer: puts bar, panels, address and theme together, and follows the model.

// To the context it adds lams, index, w, settings, move, choose, setLam, setW, remember, redraw, rgb.
function render({ model, el }) {
  const ctx = makeContext(model);
  ctx.lams = model.get("lams");
  ctx.index = () => model.get("index");
  ctx.w = () => model.get("w_star");
  ctx.settings = {};
  const { root } = ctx;
  const bar = sliderBar(ctx);
  const extra = html("div", { className: "lx-extra" });
  const alarm = html("p", { className: "lx-error", role: "alert", hidden: true });
  const grid = html("div", { className: "lx-panels" });
  root.append(bar.bar, extra, alarm, grid, ctx.live);
  const fit = drawInFrames(ctx, grid, draw, () => fitPanels(panels));
  let panels = [];
  ctx.remember = () => {};

  ctx.rgb = followTheme(ctx);
  ctx.move = (i) => {
    if (i === ctx.index()) return;
    model.set("index", i);
    model.save_changes();
    ctx.remember();
  };
  // the reader takes over from the player
  ctx.choose = (i) => {
    bar.player.stop();
    ctx.move(i);
  };
  // The nearest λ of the grid; itself, to four digits, where no panel needs that of the grid.
  ctx.setLam = (asked) => {
    const [lam, grid] = [+plain(asked, 4), model.get("lams")];
    const i = nearest(grid, lam);
    bar.player.stop();
    model.set("index", i);
    model.save_changes();
    const free = model.get("panels").every((panel) => panel.kind === "calculator");
    ctx.lams = grid.map((v, k) => (free && k === i && +plain(v, 4) !== lam ? lam : v));
    ctx.redraw();
  };
  ctx.setW = (w, done) => {
    model.set("w_star", w);
    if (!done) return;
    model.save_changes();
    ctx.remember();
  };

  function draw() {
    const i = clamp(ctx.index(), 0, ctx.lams.length - 1);
    bar.show(i);
    const told = panels.map((panel) => panel.draw(i)).filter(Boolean);
    return [`${ctx.sign} = ${plain(ctx.lams[i])}`, ...told];
  }

  function build() {
    bar.rescale();
    const { buffer } = bytesOf(model.get("blob"));
    panels = model.get("panels").map((spec) => makePanel(spec, unpack(spec, buffer), ctx));
    grid.replaceChildren(...panels.map((panel) => panel.figure));
    fit();
  }

  const buildSoon = inNextFrame(ctx, build); // several new values make one new drawing

  const showError = () => {
    alarm.textContent = model.get("error");
    alarm.hidden = !alarm.textContent;
  };

  for (const key of ["index", "lams"]) ctx.onModel(key, () => (ctx.lams = model.get("lams")));
  for (const key of ["index", "w_star"]) ctx.onModel(key, ctx.redraw);
  for (const key of ["lams", "panels", "blob"]) ctx.onModel(key, buildSoon);
  ctx.onModel("error", showError);
  kernelControls(ctx, extra);
  el.append(root);
  build();
  showError();
  if (ctx.isStatic) ctx.remember = linkExplorer(ctx, buildSoon);
  return ctx.close;
}

// λ and, where there is geometry or a calculator, w* or the plan in the page's address.
function linkExplorer(ctx, buildSoon) {
  const { model, name, root } = ctx;
  const panel = (kind) => model.get("panels").find((p) => p.kind === kind);

  function state() {
    const w = ctx.w();
    const start = panel("geometry")?.w_star;
    const mine = { lam: plain(ctx.lams[model.get("index")], 4), ...ctx.settings };
    if (start && String(w) !== String(start)) mine.w = w.map((v) => plain(v, 4)).join(":");
    return new Map([[name, mine]]);
  }

  function take(states) {
    const mine = states.get(name);
    if (!mine) return;
    const { lam, w: point = "", ...settings } = mine;
    if (+lam >= 0 && isFinite(lam)) ctx.setLam(+lam);
    if (panel("calculator")) {
      ctx.settings = settings;
      buildSoon();
    }
    const w = point.split(":").map(Number);
    if (w.length === 2 && w.every(isFinite) && panel("geometry")) {
      const R = panel("geometry").extent;
      model.set("w_star", w.map((v) => clamp(v, -R, R)));
    }
  }

  return linkAddress(ctx, root.querySelector(".lx-bar"), state, take);
}

// Position of the grid value nearest to λ on the log scale; 0 only for 0.
function nearest(lams, lam) {
  const distance = (v) => (v === lam ? 0 : v > 0 && lam > 0 ? Math.abs(Math.log(v / lam)) : 1e9);
  return lams.indexOf(leastBy(distance, lams));
}

export default { render };
