// The explorer: puts bar, panels, address and theme together, and follows the model.

// It adds to the context: lams, index, w, move, choose, setW, redraw, rgb.
function render({ model, el }) {
  const ctx = makeContext(model);
  ctx.lams = model.get("lams");
  ctx.index = () => model.get("index");
  ctx.w = () => model.get("w_star");
  const { root } = ctx;
  const bar = sliderBar(ctx);
  const extra = html("div", { className: "lx-extra" });
  const alarm = html("p", { className: "lx-error", role: "alert", hidden: true });
  const grid = html("div", { className: "lx-panels" });
  root.append(bar.bar, extra, alarm, grid, ctx.live);
  const fit = drawInFrames(ctx, grid, draw, () => fitPanels(panels));
  const kept = {};
  let panels = [];
  let remember = () => {};
  let pending = 0;

  ctx.rgb = followTheme(ctx);
  ctx.move = (i) => {
    if (i === ctx.index()) return;
    model.set("index", i);
    model.save_changes();
    remember();
  };
  // the reader takes over from the player
  ctx.choose = (i) => {
    bar.player.stop();
    ctx.move(i);
  };
  ctx.setW = (w, done) => {
    model.set("w_star", w);
    if (!done) return;
    model.save_changes();
    remember();
  };

  function draw() {
    const i = clamp(ctx.index(), 0, ctx.lams.length - 1);
    bar.show(i);
    const told = panels.map((panel) => panel.draw(i)).filter(Boolean);
    return [`${ctx.sign} = ${plain(ctx.lams[i])}`, ...told];
  }

  function build() {
    ctx.lams = model.get("lams");
    bar.rescale();
    const { buffer } = bytesOf(model.get("blob"));
    panels = model.get("panels").map((spec, k) => {
      const key = k + JSON.stringify(spec);
      return makePanel(spec, unpack(spec, buffer), ctx, (kept[key] ||= {}));
    });
    grid.replaceChildren(...panels.map((panel) => panel.figure));
    fit();
  }

  // several new values make one new drawing
  const buildSoon = () => {
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      build();
    });
  };

  const showError = () => {
    alarm.textContent = model.get("error");
    alarm.hidden = !alarm.textContent;
  };

  for (const key of ["index", "w_star"]) ctx.onModel(key, ctx.redraw);
  for (const key of ["lams", "panels", "blob"]) ctx.onModel(key, buildSoon);
  ctx.onModel("error", showError);
  kernelControls(ctx, extra);
  el.append(root);
  build();
  showError();
  if (ctx.isStatic) remember = linkExplorer(ctx);
  ctx.onClose(() => cancelAnimationFrame(pending));
  return ctx.close;
}

// λ and, where there is geometry, w* in the page's address.
function linkExplorer(ctx) {
  const { model, name, root } = ctx;
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

  return linkAddress(ctx, root.querySelector(".lx-bar"), state, take);
}

// Position of the grid value nearest to λ on the log scale; 0 only for 0.
function nearest(lams, lam) {
  const distance = (v) => (v === lam ? 0 : v > 0 && lam > 0 ? Math.abs(Math.log(v / lam)) : 1e9);
  return lams.indexOf(leastBy(distance, lams));
}

export default { render };
