// One panel in the page: heading, legend, drawing, read-out.
//
// A panel kind is one function, PANELS.kind = (spec, arrays, ctx, frame) => (i) => "what is seen".
//   spec    what `kind_panel` in panels.py returns: labels, limits, colours
//   arrays  its numbers, as typed arrays with a `shape`; the first axis is λ
//   ctx     the explorer: label, sign, lams, w(), setW(w, done), choose(i), rgb(), redraw(), and
//           setLam(lam), settings and remember() for what a reader sets beside λ
//   frame   svg, stage (the element around it), width, height, legend(items), drawAgain(), and
//           spoken: what is said aloud before what is seen
// It is called for every new width and draws what stays; the function that it returns draws the
// rest at grid position i and says it in words. To add a kind, look for a similar one (pixels) in
// these places: `kind_panel` in panels.py and its __all__; its drawing for print in fallback.py, in
// the tables of heights and frames at its top too; js/kind.js, and its name in KINDS of
// explorer.py; below, SHARE_OF_WIDTH and KEYS, if it needs them; explorer.css; `every_panel` in
// tests/test_explore.py, and tests/explorer_page.py.

const SHARE_OF_WIDTH = { geometry: 0.9, field: 0.72, calculator: 0.5 };
const KEYS = {
  line: "M0 5H20",
  hair: "M0 2H20M0 5H20M0 8H20",
  circle: disc(10, 5, 4),
  rect: "M6 1h8v8h-8z",
  triangle: "M10 0L15 9H5Z",
  plus: "M4 5h12M10 -1v12",
  star: starShape(10, 5, 6.5),
  ring: disc(10, 5, 5),
  cross: cross(10, 5, 4),
};

function makePanel(spec, arrays, ctx) {
  const picture = svg("svg", { role: "img", "aria-label": spec.title });
  const stage = html("div", { className: "lx-stage" }, picture);
  const note = html("p", { className: "lx-note" });
  const legend = html("div", { className: "lx-legend", ariaHidden: "true" });
  const caption = html("figcaption", { textContent: spec.title });
  const figure = html("figure", { className: "lx-panel" }, caption, legend, stage, note);
  let drawAt = null;

  const frame = { svg: picture, stage, spoken: "", width: 0, height: 0 };
  frame.legend = (items) => fillLegend(legend, items.filter(Boolean));
  frame.drawAgain = () => {
    const width = frame.width;
    frame.width = 0;
    layout(width);
    ctx.redraw();
  };

  function layout(width) {
    if (!width || width === frame.width) return;
    const share = SHARE_OF_WIDTH[spec.kind] || 0.64;
    frame.width = width;
    frame.height = Math.round(clamp(width * share, 210, spec.kind === "geometry" ? 400 : 290));
    picture.replaceChildren();
    stage.querySelectorAll("canvas, .lx-knob").forEach((e) => e.remove());
    picture.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
    drawAt = PANELS[spec.kind](spec, arrays, ctx, frame);
  }

  function draw(i) {
    if (!drawAt) return "";
    const told = [drawAt(i), spec.notes && spec.notes[i]].filter(Boolean).join(" ");
    if (note.textContent !== told) {
      note.textContent = told;
      picture.setAttribute("aria-label", `${spec.title}. ${told}`);
    }
    return [frame.spoken, told].filter(Boolean).join(" ");
  }

  return { figure, width: () => stage.clientWidth, layout, draw };
}

// Reads all widths before it writes: one reflow.
function fitPanels(panels) {
  const widths = panels.map((panel) => panel.width());
  panels.forEach((panel, k) => panel.layout(widths[k]));
}

// Items are a key, a colour, a text and, for lines, dashes.
function fillLegend(legend, items) {
  legend.replaceChildren();
  for (const [mark, hue, name, dash] of items) {
    const box = { viewBox: "0 0 20 10", width: 20, height: 10, class: "key" };
    const key = svg("svg", { ...box, style: `color:${hue}` });
    path(key, `key-${mark}`, KEYS[mark], { "stroke-dasharray": dash || "" });
    legend.append(html("span", { className: "lx-item" }, key, name));
  }
}

// All arrays travel in one buffer; the JSON says where each lies.
const whole = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
const TYPES = { ...whole, float32: Float32Array };

function unpack(spec, buffer) {
  const arrays = {};
  for (const [key, { dtype, shape, offset }] of Object.entries(spec.arrays)) {
    const length = shape.reduce((a, b) => a * b, 1);
    arrays[key] = Object.assign(new TYPES[dtype](buffer, offset, length), { shape });
  }
  return arrays;
}
