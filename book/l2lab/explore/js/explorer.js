// The explorer: puts bar, panels, address and theme together, and follows the model.

function render({ model, el }) {
  const ctx = makeContext(model);
  const { root } = ctx;
  const bar = sliderBar(ctx);
  const extra = html("div", { className: "lx-extra" });
  const alarm = html("p", { className: "lx-error", role: "alert", hidden: true });
  const grid = html("div", { className: "lx-panels" });
  root.append(bar.bar, extra, alarm, grid, ctx.live);
  const say = speaker(ctx);
  const kept = {};
  let panels = [];
  let remember = () => {};
  let frame = 0;
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
  ctx.redraw = () => {
    frame ||= requestAnimationFrame(draw);
  };

  function draw() {
    frame = 0;
    if (!root.isConnected) return;
    const i = clamp(ctx.index(), 0, ctx.lams.length - 1);
    bar.show(i);
    const told = panels.map((panel) => panel.draw(i)).filter(Boolean);
    say([`${ctx.sign} = ${plain(ctx.lams[i])}`, ...told]);
  }

  function build() {
    ctx.lams = model.get("lams");
    bar.rescale();
    // a DataView in every host; copied, so that typed arrays find their alignment
    const blob = model.get("blob");
    const bytes = new Uint8Array(blob.buffer || blob, blob.byteOffset || 0, blob.byteLength);
    const { buffer } = bytes.slice();
    panels = model.get("panels").map((spec, k) => {
      const key = k + JSON.stringify(spec);
      return makePanel(spec, unpack(spec, buffer), ctx, (kept[key] ||= {}));
    });
    grid.replaceChildren(...panels.map((panel) => panel.figure));
    fit();
  }

  // reads all widths before it writes: one reflow
  function fit() {
    family = getComputedStyle(root).fontFamily || family;
    const widths = panels.map((panel) => panel.width());
    panels.forEach((panel, k) => panel.layout(widths[k]));
    ctx.redraw();
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

  // JupyterLab would take the keys of a focused slider; the page would scroll
  ctx.listen(root, "keydown", (event) => {
    if (/^(Arrow|Page|Home|End|Enter| )/.test(event.key)) event.stopPropagation();
  });
  for (const key of ["index", "w_star"]) ctx.onModel(key, ctx.redraw);
  for (const key of ["lams", "panels", "blob"]) ctx.onModel(key, buildSoon);
  ctx.onModel("error", showError);
  kernelControls(ctx, extra);
  el.append(root);
  build();
  showError();
  const sizes = new ResizeObserver(fit);
  sizes.observe(grid);
  if (ctx.isStatic) remember = linkAddress(ctx);
  ctx.onClose(() => {
    cancelAnimationFrame(frame);
    cancelAnimationFrame(pending);
    sizes.disconnect();
  });
  return ctx.close;
}

// What the parts of an explorer share. They add: move, choose, setW, redraw, rgb.
function makeContext(model) {
  const label = model.get("label");
  const name = bare(label);
  const root = html("div", { className: "lx", role: "group", ariaLabel: model.get("alt") });
  const gone = new AbortController();
  const closing = [() => gone.abort()];
  return {
    model,
    root,
    label,
    sign: /^λ.{0,9}$/.test(name) ? name : "λ",
    name: model.get("name"),
    isStatic: model.isStatic === true,
    live: html("div", { className: "lx-hidden", ariaLive: "polite" }),
    lams: model.get("lams"),
    index: () => model.get("index"),
    w: () => model.get("w_star"),
    listen: (to, event, f) => to.addEventListener(event, f, { signal: gone.signal }),
    onModel: (key, f) => {
      model.on("change:" + key, f);
      closing.push(() => model.off("change:" + key, f));
    },
    onClose: (f) => closing.push(f),
    close: () => closing.forEach((f) => f()),
  };
}

// Spoken when the slider rests, not at every step.
function speaker(ctx) {
  let timer = 0;
  ctx.onClose(() => clearTimeout(timer));
  return (sentences) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      ctx.live.textContent = sentences.join(". ").replace(/\.\./g, ".");
    }, 400);
  };
}

export default { render };
