// Renders the book's anywidgets on a static page: no kernel, no require.js, no html-manager, no other host.
//
// Reads the standard scripts of type application/vnd.jupyter.widget-state+json and -view+json, imports each widget's
// module from its stored source and calls `initialize` and `render` with a small model (get, set, on, off). The model
// says `isStatic = true`, so that a widget can tell this page from a live kernel. A widget's picture, the element with
// class "widget-fallback" before the view, goes only when the widget stands: it gets the class "is-live" and is
// hidden. A view that is not an anywidget, or fails, keeps its picture.
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
        const bytes = [...atob(data)].map((c) => c.charCodeAt(0));
        let at = this.#state;
        // a buffer may sit deep in the state: copy what the path crosses
        for (const key of path.slice(0, -1)) at = at[key] = Array.isArray(at[key]) ? [...at[key]] : { ...at[key] };
        at[path.at(-1)] = new DataView(Uint8Array.from(bytes).buffer);
      }
    }
    get(key) { return this.#state[key]; }
    set(key, value) {
      const changed = Object.entries(typeof key === "object" ? key : { [key]: value }).filter(([k, v]) => this.#state[k] !== v);
      for (const [k, v] of changed) this.#state[k] = v;
      for (const [k, v] of changed) this.#fire("change:" + k, v);
      if (changed.length) this.#fire("change");
    }
    #fire(name, value) { for (const f of [...(this.#heard.get(name) || [])]) f(this, value); }
    on(names, f) { for (const n of names.split(" ")) this.#heard.set(n, (this.#heard.get(n) || new Set()).add(f)); }
    off(names, f) {
      for (const n of names ? names.split(" ") : [...this.#heard.keys()]) f ? this.#heard.get(n)?.delete(f) : this.#heard.delete(n);
    }
    save_changes() {}
    send() {}
  }

  const modules = new Map();
  async function load(source) {
    if (!modules.has(source)) {
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      modules.set(source, import(url).finally(() => URL.revokeObjectURL(url)));
    }
    const { default: widget } = await modules.get(source);
    return typeof widget === "function" ? widget() : widget;
  }

  function start() {
    const records = {}, shared = {};
    for (const tag of script("state")) Object.assign(records, JSON.parse(tag.textContent).state);
    for (const { state } of Object.values(records)) {
      if (!state?._anywidget_id) continue;
      const first = (shared[state._anywidget_id] ??= {});
      first._esm ??= state._esm;
      first._css ??= state._css;
    }
    const models = new Map(), foreign = [];
    const model = (id, widget) => {
      if (!models.has(id)) {
        const m = new Model(records[id]);
        models.set(id, Promise.resolve(widget.initialize?.({ model: m, experimental: {} })).then(() => m));
      }
      return models.get(id);
    };
    async function show(tag) {
      const id = JSON.parse(tag.textContent).model_id, state = records[id]?.state;
      if (records[id]?.model_module !== "anywidget") return foreign.push(id);
      const source = { ...shared[state._anywidget_id], ...state }, holder = document.createElement("div");
      try {
        const widget = await load(source._esm), m = await model(id, widget);
        if (source._css && ![...document.querySelectorAll("style[data-anywidget]")].some((e) => e.dataset.anywidget === state._anywidget_id)) {
          const style = document.createElement("style");
          style.dataset.anywidget = state._anywidget_id;
          style.textContent = source._css;
          document.head.append(style);
        }
        holder.className = "widget-live";
        tag.before(holder);
        const picture = [...tag.parentElement.children].find((e) => e.classList.contains("widget-fallback"));
        await widget.render({ model: m, el: holder, experimental: {} });
        picture?.classList.add("is-live");
        picture?.style.setProperty("display", "none", "important");
      } catch (error) {
        holder.remove();
        console.error("[widgets-offline] the picture stays:", error);
      }
    }
    (async () => {
      for (const tag of script("view")) {
        await show(tag);
        await new Promise((ok) => setTimeout(ok)); // between two widgets the page answers to the reader
      }
      if (foreign.length) console.warn(`[widgets-offline] ${foreign.length} view(s) without a stored anywidget keep their picture: ${foreign.join(", ")}`);
    })();
  }
  // "interactive": the page is parsed; DOMContentLoaded would also wait for MathJax. On the book's pages the text is
  // painted first (first-paint.js).
  const begin = () => Promise.resolve(window.firstPaint).then(start);
  if (document.readyState === "loading") document.addEventListener("readystatechange", begin, { once: true });
  else begin();
})();
