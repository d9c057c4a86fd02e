// What the parts of a widget share: explorer.js and train/trainer.js add to it.

function makeContext(model) {
  const label = model.get("label");
  const name = bare(label);
  const root = html("div", { className: "lx", role: "group", ariaLabel: model.get("alt") });
  const gone = new AbortController();
  const closing = [() => gone.abort()];
  const listen = (to, event, f) => to.addEventListener(event, f, { signal: gone.signal });
  // JupyterLab would take the keys of a focused slider; the page would scroll
  listen(root, "keydown", (event) => {
    if (/^(Arrow|Page|Home|End|Enter| )/.test(event.key)) event.stopPropagation();
  });
  return {
    model,
    root,
    label,
    sign: /^λ.{0,9}$/.test(name) ? name : "λ",
    name: model.get("name"),
    isStatic: model.isStatic === true,
    live: html("div", { className: "lx-hidden", ariaLive: "polite" }),
    listen,
    onModel: (key, f) => {
      model.on("change:" + key, f);
      closing.push(() => model.off("change:" + key, f));
    },
    onClose: (f) => closing.push(f),
    close: () => closing.forEach((f) => f()),
  };
}

// Draws in the next frame, however often ctx.redraw() is called, and fits drawings to their place:
// draw() returns what is seen in words, which is spoken when it rests; fit() lays out anew.
function drawInFrames(ctx, place, draw, fit) {
  const say = speaker(ctx);
  ctx.redraw = inNextFrame(ctx, () => ctx.root.isConnected && say(draw()));
  const refit = () => {
    family = getComputedStyle(ctx.root).fontFamily || family;
    fit();
    ctx.redraw();
  };
  const sizes = new ResizeObserver(refit);
  sizes.observe(place);
  ctx.onClose(() => sizes.disconnect());
  return refit;
}

// Makes of f a function that calls it once in the next frame, however often it is called.
function inNextFrame(ctx, f) {
  let frame = 0;
  ctx.onClose(() => cancelAnimationFrame(frame));
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      f();
    });
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

// A DataView in every host; copied, so that typed arrays find their alignment.
function bytesOf(blob) {
  return new Uint8Array(blob.buffer || blob, blob.byteOffset || 0, blob.byteLength).slice();
}
