// The bar above the panels: slider with its scale, and read-out; and menus.

function sliderBar(ctx) {
  const id = newId();
  const slider = html("input", { type: "range", id, max: ctx.lams.length - 1 });
  const readout = html("output", { htmlFor: id });
  const look = { className: "lx-ticks", ariaHidden: "true" };
  const scale = html("div", look, ...scaleMarks(ctx.lams));
  const said = ctx.label === ctx.sign ? "lx-hidden" : "";
  const label = html("label", { htmlFor: id, textContent: ctx.label, className: said });
  const slide = html("div", { className: "lx-slide" }, label, slider, scale);
  const bar = html("div", { className: "lx-bar" }, slide, readout);
  ctx.listen(slider, "input", () => ctx.choose(+slider.value));

  function show(i) {
    const lam = ctx.lams[i];
    if (+slider.value !== i) slider.value = i;
    slider.setAttribute("aria-valuetext", `${ctx.sign} = ${plain(lam)}`);
    slider.style.setProperty("--at", i / (ctx.lams.length - 1));
    readout.textContent = `${ctx.sign} = ${number(lam)}`;
  }

  return { bar, show };
}

// Decades under the slider, which has equal steps whatever the grid is.
function scaleMarks(lams) {
  const { zero } = lamScale(lams, 0, 1);
  const last = lams.length - 1;
  const decades = logTicks(Math.log10(lams[zero]), Math.log10(lams[last]), 9);
  const place = (v) => {
    if (!v) return 0;
    let k = zero;
    while (k < last - 1 && lams[k + 1] <= v * (1 + 1e-9)) k++;
    const part = Math.log(v / lams[k]) / Math.log(lams[k + 1] / lams[k] || 2);
    return clamp(k + part, 0, last) / last;
  };
  return [...(zero ? [[0, "0"]] : []), ...decades].map(([v, t]) => {
    const at = place(v);
    const touchesZero = zero && at && at < 0.06;
    return touchesZero ? "" : html("span", { textContent: t, style: `--p:${at.toFixed(4)}` });
  });
}

// A choice is [label, values, names]: a menu of names or, without them, a slider over the values.
function field([label, values, names], get, set) {
  const id = newId();
  const caption = html("label", { htmlFor: id });
  const options = (names || []).map((name, i) => new Option(name, i));
  const range = { type: "range", id, min: 0, max: values.length - 1 };
  const input = names ? html("select", { id }, ...options) : html("input", range);
  const follow = () => {
    input.value = values.indexOf(get());
    caption.textContent = names ? label : `${label}: ${number(get())}`;
    if (!names) input.setAttribute("aria-valuetext", plain(get()));
    input.style.setProperty("--at", input.value / (values.length - 1));
  };
  input.oninput = () => {
    set(values[+input.value]);
    follow();
  };
  follow();
  return { follow, element: html("span", { className: "lx-control" }, caption, input) };
}
