// The state in the page's address, #name:lam=0.03;other:lam=1,w=1.2:0.4, on the static page only: a
// live notebook's address is left alone.

function readHash() {
  const found = new Map();
  let hash = "";
  try {
    hash = decodeURIComponent(location.hash.slice(1));
  } catch {
    return found;
  }
  for (const part of hash.split(";")) {
    const match = /^([a-z][a-z0-9-]*):(lam=.+)$/.exec(part);
    if (!match) continue;
    const pairs = match[2].split(",").map((pair) => pair.split("="));
    found.set(match[1], Object.fromEntries(pairs));
  }
  return found;
}

function hashOf(states) {
  const pairs = (state) => Object.entries(state).map((pair) => pair.join("=")).join(",");
  return "#" + [...states].map(([name, state]) => `${name}:${pairs(state)}`).join(";");
}

// Position of the grid value nearest to λ on the log scale; 0 only for 0.
function nearest(lams, lam) {
  const distance = (v) => (v === lam ? 0 : v > 0 && lam > 0 ? Math.abs(Math.log(v / lam)) : 1e9);
  return lams.indexOf(leastBy(distance, lams));
}

// Keeps address and explorer in step; returns `remember`, to be called after each change.
function linkAddress(ctx) {
  const { model, name, root } = ctx;
  const geometry = () => model.get("panels").find((p) => p.kind === "geometry");
  let timer = 0;

  function state() {
    const w = ctx.w();
    const start = geometry()?.w_star;
    const lam = plain(ctx.lams[model.get("index")], 4);
    if (!start || String(w) === String(start)) return { lam };
    return { lam, w: w.map((v) => plain(v, 4)).join(":") };
  }

  function remember() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const hash = hashOf(readHash().set(name, state()));
      try {
        history.replaceState(history.state, "", hash);
      } catch {
        // some browsers refuse when asked too often; the address is then a little old
      }
    }, 250);
  }

  function recall() {
    const states = readHash();
    const mine = states.get(name);
    if (mine) {
      const lam = +mine.lam;
      if (lam >= 0 && isFinite(lam)) model.set("index", nearest(ctx.lams, lam));
      const w = (mine.w || "").split(":").map(Number);
      if (w.length === 2 && w.every(isFinite) && geometry()) {
        const R = geometry().extent;
        model.set("w_star", w.map((v) => clamp(v, -R, R)));
      }
    }
    const first = states.keys().next().value;
    if (first === name || location.hash === "#" + name) root.scrollIntoView({ block: "start" });
  }

  if (!document.getElementById(name)) root.id = name;
  root.querySelector(".lx-bar").append(copyButton(ctx, state));
  ctx.listen(window, "hashchange", recall);
  ctx.onClose(() => clearTimeout(timer));
  recall();
  // pictures and formulas above may move the page until it is loaded
  if (document.readyState !== "complete" && readHash().has(name)) {
    ctx.listen(window, "load", recall);
  }
  return remember;
}

function copyButton(ctx, state) {
  const words = html("span", { textContent: "Copy link" });
  const look = { type: "button", className: "lx-copy", title: "Copy the address of this λ" };
  const button = html("button", look, words);
  ctx.listen(button, "click", async () => {
    const url = location.href.split("#")[0] + hashOf(new Map([[ctx.name, state()]]));
    const copied = await navigator.clipboard.writeText(url).then(() => true, () => false);
    words.textContent = ctx.live.textContent = copied ? "Link copied" : "Not copied";
    setTimeout(() => {
      words.textContent = "Copy link";
    }, 2000);
  });
  return button;
}
