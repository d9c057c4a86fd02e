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

// Keeps address and widget in step; returns `remember`, to be called after each change. state() is
// a Map of names and what the address says of them, take(states) obeys such a Map; the button that
// copies the address goes into `place`.
function linkAddress(ctx, place, state, take) {
  const { name, root } = ctx;
  let timer = 0;

  function remember() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const hash = hashOf(new Map([...readHash(), ...state()]));
      try {
        history.replaceState(history.state, "", hash);
      } catch {
        // some browsers refuse when asked too often; the address is then a little old
      }
    }, 250);
  }

  function recall() {
    const states = readHash();
    take(states);
    const first = states.keys().next().value;
    if (first === name || location.hash === "#" + name) root.scrollIntoView({ block: "start" });
  }

  if (!document.getElementById(name)) root.id = name;
  place.append(copyButton(ctx, state));
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
  const look = { type: "button", className: "lx-copy", title: "Copy the address of what is set" };
  const button = html("button", look, words);
  ctx.listen(button, "click", async () => {
    const url = location.href.split("#")[0] + hashOf(state());
    const copied = await navigator.clipboard.writeText(url).then(() => true, () => false);
    words.textContent = ctx.live.textContent = copied ? "Link copied" : "Not copied";
    setTimeout(() => {
      words.textContent = "Copy link";
    }, 2000);
  });
  return button;
}
