// Renders the book's anywidgets on a static page: no kernel, no require.js, no html-manager, no other host.
//
// Reads the standard scripts of type application/vnd.jupyter.widget-state+json and -view+json, imports each widget's
// module from its stored source and calls `render` with a small model (get, set, on, off). The model says
// `isStatic = true`, so that a widget can tell this page from a live kernel. A widget's picture, the element with
// class "widget-fallback" before the view, goes only when the widget stands. A view that is not an anywidget, or fails,
// keeps its picture.
//
// Stored state may be compact: a model without `_esm` or `_css` takes those of the first model with the same
// `_anywidget_id` (see l2lab.explore.compact_state).
(() => {
  "use strict";
  const script = (kind) => document.querySelectorAll(`script[type="application/vnd.jupyter.widget-${kind}+json"]`);

  class Model {
    isStatic = true;
    #state;
    #heard = new Map();
    constructor({ state, buffers = [] }) {
      this.#state = { ...state };
      for (const { data, path } of buffers) {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        this.#state[path[0]] = new DataView(bytes.buffer);
      }
    }
    get(key) { return this.#state[key]; }
    set(key, value) {
      if (this.#state[key] === value) return;
      this.#state[key] = value;
      for (const f of [...(this.#heard.get("change:" + key) ?? [])]) f(this, value);
    }
    on(name, f) { this.#heard.set(name, (this.#heard.get(name) ?? new Set()).add(f)); }
    off(name, f) { this.#heard.get(name)?.delete(f); }
    save_changes() {}
  }

  const modules = new Map();
  async function load(source) {
    if (!modules.has(source)) {
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      modules.set(source, import(url).finally(() => URL.revokeObjectURL(url)));
    }
    return (await modules.get(source)).default;
  }

  async function start() {
    const records = {}, shared = {}, models = {}, foreign = [];
    for (const tag of script("state")) Object.assign(records, JSON.parse(tag.textContent).state);
    for (const { state } of Object.values(records)) {
      const first = (shared[state?._anywidget_id] ??= {});
      first._esm ??= state?._esm;
      first._css ??= state?._css;
    }
    async function show(tag) {
      const id = JSON.parse(tag.textContent).model_id, state = records[id]?.state;
      if (records[id]?.model_module !== "anywidget") return foreign.push(id);
      const source = { ...shared[state._anywidget_id], ...state }, holder = document.createElement("div");
      try {
        const widget = await load(source._esm);
        if (source._css && !document.querySelector(`style[data-anywidget="${state._anywidget_id}"]`)) {
          const style = document.createElement("style");
          style.dataset.anywidget = state._anywidget_id;
          style.textContent = source._css;
          document.head.append(style);
        }
        holder.className = "widget-live";
        tag.before(holder);
        await widget.render({ model: (models[id] ??= new Model(records[id])), el: holder });
        tag.parentElement.querySelector(":scope > .widget-fallback")?.style.setProperty("display", "none", "important");
      } catch (error) {
        holder.remove();
        console.error("[widgets-offline] the picture stays:", error);
      }
    }
    for (const tag of script("view")) {
      await show(tag);
      await new Promise((ok) => setTimeout(ok)); // between two widgets the page answers to the reader
    }
    if (foreign.length) console.warn("[widgets-offline] no anywidget, these keep their picture:", foreign.join(", "));
  }
  // "interactive": the page is parsed; DOMContentLoaded would also wait for MathJax. On the book's pages the text is
  // painted first (first-paint.js).
  const begin = () => Promise.resolve(window.firstPaint).then(start);
  if (document.readyState === "loading") document.addEventListener("readystatechange", begin, { once: true });
  else begin();
})();
