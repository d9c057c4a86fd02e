// Pictures of a run. Each is drawn anew, as its axes grow with the run, mostly as one of the
// explorer's kinds of panels with numbers of this moment; draw() returns what is seen in words.

const finite = (v) => (isFinite(v) ? v : 0);
const alive = (v) => (isAlive(v) ? finite(v) : 0);
const shaped = (values, ...size) => Object.assign(Float64Array.from(values), { shape: size });
const isLinear = (run) => !isNetwork(run.state.model);

const VIEWS = {
  inputs: {
    title: "Weight of each input now",
    fits: ({ data }) => data.p > 1 && data.p < 64,
    draw: (run, ctx, frame) => {
      const values = shaped(run.history.at(-1).strength.map(alive), 1, run.data.p);
      const labels = Array.from(values, (_, j) => (run.data.truth[j] ? `${j + 1}` : ""));
      const ylabel = isLinear(run) ? "weight" : "length of its column";
      const ylim = range({}, [0, ...values]);
      PANELS.bars({ ylabel, labels, ylim }, { y: values }, ctx, frame)(0);
      frame.legend([
        ["rect", color(1), "numbered: true inputs"],
        ["ring", "currentColor", "below 1/1000"],
      ]);
      return tellAlive(run);
    },
  },
  picture: {
    title: "Weight of each pixel now",
    fits: ({ data }) => data.p === 64,
    draw: (run, ctx, frame) => {
      const sizes = run.history.at(-1).strength.map((v) => Math.abs(alive(v)));
      const marks = Array.from(sizes.keys()).filter((n) => !sizes[n]);
      const look = { unit: "size of the weight", marks, mark: "below 1/1000" };
      PANELS.pixels(look, { y: shaped(sizes, 1, 8, 8) }, ctx, frame)(0);
      return tellAlive(run);
    },
  },
  track: {
    title: "Weight of each input against time",
    fits: ({ data }) => data.p > 1,
    draw: drawTrack,
  },
  plane: {
    title: "Decision in the plane of x₁ and x₂",
    fits: ({ state }) => state.data === "xor",
    draw: ({ data, model }, ctx, frame) => {
      const N = 33;
      const row = new Float64Array(data.p); // all other inputs are 0
      model.prepare();
      const code = Array.from({ length: N * N }, (_, k) => {
        row[0] = (4 * (k % N)) / (N - 1) - 2;
        row[1] = (4 * Math.floor(k / N)) / (N - 1) - 2;
        const t = finite(Math.tanh(model.value(row, 0) / 2)); // 2p − 1
        return Math.round(127.5 + 127.5 * Math.sign(t) * Math.sqrt(Math.abs(t)));
      });
      const at = (i) => Array.from(data.X.subarray(i * data.p, i * data.p + 2));
      const points = Array.from(data.y, (label, i) => [...at(i), label]);
      const look = { extent: [-2, 2, -2, 2], xlabel: "x₁", ylabel: "x₂", classes: ["0", "1"] };
      frame.stage.querySelector("canvas")?.remove();
      PANELS.field({ ...look, points }, { code: shaped(code, 1, N, N) }, ctx, frame)(0);
      return "All other inputs are 0 here.";
    },
  },
  fitted: {
    title: "Curve",
    fits: ({ state }) => state.data === "curve",
    draw: ({ data, model, state }, ctx, frame) => {
      const x = Array.from({ length: 81 }, (_, k) => k / 40 - 1);
      const scale = isNetwork(state.model) ? 1 : Math.sqrt(3); // the first Legendre input is √3·x
      const points = Array.from(data.y, (v, i) => [data.X[i * data.p] / scale, clamp(v, -3, 3)]);
      model.prepare();
      const y = x.map((u) => model.value(curveInputs(u, data.p), 0));
      const names = ["training rows", "fit", "truth"];
      const look = { ylim: [-3, 3], xlabel: "x", ylabel: "y", names, offset: 0, step: 1 };
      const inside = shaped(y.map((v) => clamp(finite(v), -9, 9)), 1, 81);
      PANELS.fit({ ...look, x, points, truth: x.map(curveAt) }, { y: inside }, ctx, frame)(0);
      return "";
    },
  },
  loss: {
    title: "Loss",
    fits: () => true,
    draw: (run, ctx, frame) => {
      const ys = LOSSES.map(([key]) => run.history.map((moment) => logOf(moment[key])));
      const plot = timePlot(frame, ctx, range({}, ys.flat()), "log₁₀ of the mean loss");
      LOSSES.forEach(([, k, dash], s) => {
        const look = { stroke: color(k), "stroke-dasharray": dash };
        through(plot, run.history, (m) => ys[s][m], "line", look);
      });
      frame.legend(LOSSES.map(([key, k, dash]) => ["line", color(k), key, dash]));
      const { train, test } = run.history.at(-1);
      return `Mean loss: train ${number(train)}, test ${number(test)}.`;
    },
  },
  weights: {
    title: "All weights",
    fits: () => true,
    draw: (run, ctx, frame) => {
      const rows = [run.start, weightsOf(run)];
      const values = rows.map((row) => Array.from(row, alive).filter(Boolean));
      const reach = Math.max(0.1, ...values.flat().map(Math.abs)) * 1.05;
      const counts = shaped(new Float64Array(62), 2, 31);
      const bin = (v) => Math.floor(((v / reach + 1) / 2) * 31);
      values.forEach((some, r) => some.forEach((v) => (counts[31 * r + bin(v)] += 1)));
      const edges = Array.from({ length: 32 }, (_, k) => reach * ((2 * k) / 31 - 1));
      const words = { xlabel: "weight", noun: "weights", zero: "< 0.001", first: "start" };
      const zeros = values.map((some, r) => rows[r].length - some.length);
      PANELS.hist({ edges, ...words }, { counts, zeros }, ctx, frame)(1);
      frame.legend([]);
      return `${count(zeros[1])} of ${count(rows[1].length)} weights are below 1/1000.`;
    },
  },
  spent: {
    title: "Decay budget used",
    fits: ({ state }) => state.opt !== "adam",
    draw: (run, ctx, frame) => {
      const plot = timePlot(frame, ctx, [0, 16], "budget B");
      for (const [share, words] of [[1e3, "1/1000 is left"], [1e6, "10⁻⁶ is left"]]) {
        const y = plot.y(Math.log(share));
        path(plot.area, "level", `M${plot.box.left} ${px(y)}H${plot.box.right}`);
        text(frame.svg, plot.box.left + 4, y - 5, words, "label halo", "start");
      }
      const spent = (k) => Math.min(run.history[k].spent, 20);
      through(plot, run.history, spent, "line bold", { stroke: color(1) });
      const left = number(100 * Math.exp(-run.spent), 2);
      return `B = ${number(run.spent)}: of a weight that the data ignore about ${left} % is left.`;
    },
  },
};
const LOSSES = [["train", 1, ""], ["test", 2, DASH[1]]];
const logOf = (v) => Math.log10(clamp(isFinite(v) ? v : TOO_LARGE, 1e-6, TOO_LARGE));

PANELS.run = (spec, arrays, ctx, frame) => () => {
  frame.svg.replaceChildren();
  return VIEWS[spec.view].draw(ctx.shown(), ctx, frame);
};

function timePlot(frame, ctx, [low, high], label) {
  const [box, y] = yScale(frame, low, high, label);
  const x = xScale(frame, box, 0, Math.max(ctx.horizon(), 1), "step");
  return { box, x, y, area: clipTo(frame, box) };
}

const through = ({ x, y, area }, history, value, name, look) =>
  path(area, name, polyline(history.length, (k) => x(history[k].t), (k) => y(value(k))), look);

const isAlive = (v) => Math.abs(v) > ALIVE;
const countAlive = ({ history }) => history.at(-1).strength.filter(isAlive).length;

function tellAlive(run) {
  const { strength } = run.history.at(-1);
  const { truth } = run.data;
  const n = countAlive(run);
  const right = strength.filter((v, j) => isAlive(v) && truth[j]).length;
  const which = truth.length ? ` (true ${right} of ${truth.filter(Boolean).length})` : "";
  return `${n} of ${strength.length} inputs alive${which}, ${strength.length - n} below 1/1000.`;
}

// True inputs as broad lines, the others as hairlines; for AdamW the box that λ leaves to a weight.
function drawTrack(run, ctx, frame) {
  const { history, data, model, state } = run;
  const known = data.truth.length > 0;
  const ends = history.flatMap(({ strength }) => [Math.min(...strength), Math.max(...strength)]);
  const label = isLinear(run) ? "weight" : "length of its column";
  const plot = timePlot(frame, ctx, range({}, ends.map(finite)), label);
  const power = state.opt === "adamw" && isLinear(run) ? model.depth : 0;
  const wall = (sign) => (k) => sign * Math.min(history[k].lam ** -power, 1e4);
  const edge = { stroke: color(3), "stroke-dasharray": DASH[2] };
  if (power) for (const sign of [-1, 1]) through(plot, history, wall(sign), "line", edge);
  const draw = (j, name, k) =>
    through(plot, history, (m) => finite(history[m].strength[j]), name, { stroke: color(k) });
  for (let j = 0; j < data.p; j++) if (!data.truth[j]) draw(j, "line hair", 1);
  for (let j = 0; j < data.p; j++) if (data.truth[j]) draw(j, "line", 2);
  frame.legend([
    known && ["line", color(2), "true inputs"],
    ["hair", color(1), known ? "noise inputs" : "inputs"],
    power && ["line", color(3), `AdamW's box, ±1/λ${power > 1 ? superscript(power) : ""}`, DASH[2]],
  ]);
  return tellAlive(run);
}

// After a sweep: the losses at its end for every λ.
PANELS.along = (spec, arrays, ctx, frame) => {
  const lasts = ctx.swept().map((run) => run.history.at(-1));
  const rows = LOSSES.map(([key]) => lasts.map((moment) => 10 ** logOf(moment[key])));
  const y = shaped(rows.flatMap((row) => [row, row, row]).flat(), 2, 3, lasts.length);
  const at = rows[1].indexOf(Math.min(...rows[1]));
  const best = { series: 1, at, label: "least test loss" };
  const look = { names: ["train", "test"], colors: [1, 2], band: [0, 0], spread: "", logy: true };
  const draw = PANELS.curves({ ...look, best, ylabel: "mean loss" }, { y }, ctx, frame);
  return (i) => `${draw(i)} ${tellAlive(ctx.swept()[i])}`;
};
