// The explorer: puts bar, panels, address and theme together, and follows the model.

// It adds to the context: lams, index, w, choose, setW, redraw.
function render({ model, el }) {
  const ctx = makeContext(model);
  ctx.lams = model.get("lams");
  ctx.index = () => model.get("index");
  ctx.w = () => model.get("w_star");
  const bar = sliderBar(ctx);
  const { buffer } = bytesOf(model.get("blob"));
  const specs = model.get("panels");
  const panels = specs.map((spec) => makePanel(spec, unpack(spec, buffer), ctx));
  const figures = panels.map((panel) => panel.figure);
  const grid = html("div", { className: "lx-panels" }, ...figures);
  ctx.root.append(bar.bar, grid, ctx.live);
  const fit = drawInFrames(ctx, grid, draw, () => fitPanels(panels));
  let remember = () => {};

  followTheme(ctx);
  ctx.choose = (i) => {
    model.set("index", i);
    model.save_changes();
    remember();
  };
  ctx.setW = (w, done) => {
    model.set("w_star", w);
    if (!done) return;
    model.save_changes();
    remember();
  };

  function draw() {
    const i = ctx.index();
    bar.show(i);
    const told = panels.map((panel) => panel.draw(i)).filter(Boolean);
    return [`${ctx.sign} = ${plain(ctx.lams[i])}`, ...told];
  }

  for (const key of ["index", "w_star"]) ctx.onModel(key, ctx.redraw);
  el.append(ctx.root);
  fit();
  if (ctx.isStatic) remember = linkExplorer(ctx);
  return ctx.close;
}

// λ and, where there is geometry, w* in the page's address.
function linkExplorer(ctx) {
  const { model, name } = ctx;
  const geometry = () => model.get("panels").find((p) => p.kind === "geometry");

  function state() {
    const w = ctx.w();
    const start = geometry()?.w_star;
    const lam = plain(ctx.lams[model.get("index")], 4);
    if (!start || String(w) === String(start)) return new Map([[name, { lam }]]);
    return new Map([[name, { lam, w: w.map((v) => plain(v, 4)).join(":") }]]);
  }

  function take(states) {
    const mine = states.get(name);
    if (!mine) return;
    const lam = +mine.lam;
    if (lam >= 0 && isFinite(lam)) model.set("index", nearest(ctx.lams, lam));
    const w = (mine.w || "").split(":").map(Number);
    if (w.length === 2 && w.every(isFinite) && geometry()) {
      const R = geometry().extent;
      model.set("w_star", w.map((v) => clamp(v, -R, R)));
    }
  }

  return linkAddress(ctx, state, take);
}

// Position of the grid value nearest to λ on the log scale; 0 only for 0.
function nearest(lams, lam) {
  const distance = (v) => (v === lam ? 0 : v > 0 && lam > 0 ? Math.abs(Math.log(v / lam)) : 1e9);
  return lams.indexOf(leastBy(distance, lams));
}

export default { render };
