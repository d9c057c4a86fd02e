// How the trainer trains: optimizers as in torch.optim, a run that keeps its history, slices that
// leave the page its time, and the sweep.

const ALIVE = 1e-3; // an input whose weight is smaller counts as dropped, as in the book
const MOMENTUM = 0.9;
const [BETA1, BETA2, EPS] = [0.9, 0.999, 1e-8];
const KEPT = 160; // moments of a run that are kept for the pictures
const TOO_LARGE = 1e6;

// One step of theta along grad. `first` and `second` are the running averages of an optimizer.
// λ acts on the first `weights` numbers; the rest are biases.
const STEPS = {
  sgd: ({ theta, grad, weights }, { lr, lam }, { first }) => {
    for (let k = 0; k < theta.length; k++) {
      const slope = grad[k] + (k < weights ? lam * theta[k] : 0);
      first[k] = MOMENTUM * first[k] + slope;
      theta[k] -= lr * first[k];
    }
  },
  adam: (model, { lr, lam }, memory) => adamStep(model, lr, lam, 0, memory),
  adamw: (model, { lr, lam }, memory) => adamStep(model, lr, 0, lam, memory),
};

// `coupled` is added to the gradient (Adam), `decoupled` shrinks apart from it (AdamW).
function adamStep({ theta, grad, weights }, lr, coupled, decoupled, memory) {
  const { first, second, t } = memory;
  const size = lr / (1 - BETA1 ** t);
  const correction = Math.sqrt(1 - BETA2 ** t);
  for (let k = 0; k < theta.length; k++) {
    const penalized = k < weights;
    const slope = grad[k] + (penalized ? coupled * theta[k] : 0);
    if (penalized) theta[k] *= 1 - lr * decoupled;
    first[k] += (1 - BETA1) * (slope - first[k]);
    second[k] = BETA2 * second[k] + (1 - BETA2) * slope * slope;
    theta[k] -= (size * first[k]) / (Math.sqrt(second[k]) / correction + EPS);
  }
}

// Loss of one row and its slope: half the squared error, or the log loss of a label 0 or 1.
const rowLoss = (f, y, classes) =>
  classes ? Math.max(f, 0) + Math.log1p(Math.exp(-Math.abs(f))) - y * f : 0.5 * (f - y) ** 2;
const rowSlope = (f, y, classes) => (classes ? 1 / (1 + Math.exp(-f)) : f) - y;

// The weights that are penalized; of a product what counts, w itself.
const weightsOf = ({ model, state }) =>
  isNetwork(state.model) ? model.theta.slice(0, model.weights) : model.strength.slice();

// A run: {state, data, model, t, spent, history, diverged, step(), measure()}. state has data,
// model, opt, lam, lr, noise, rows, seed; lam and lr may change between two steps.
function makeRun(state, bytes) {
  const { rows, noise, seed } = state;
  const luck = generator(3 * seed + 2);
  const network = isNetwork(state.model);
  const data = PROBLEMS[state.data](rows, noise, generator(3 * seed), bytes, network);
  const model = MODELS[state.model](data.p, generator(3 * seed + 1));
  const n = data.y.length;
  const batch = Math.min(data.batch, n);
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const zeros = () => new Float64Array(model.theta.length);
  const memory = { first: zeros(), second: zeros(), t: 0 };
  const run = { state, data, model, t: 0, spent: 0, history: [], diverged: false };
  run.batch = order.subarray(0, batch);
  let every = 1;
  let place = 0;

  // rows of the next step: all of them, or the next ones of a shuffled pass over them
  function nextRows() {
    if (batch === n) return;
    if (place + batch > n) place = 0;
    if (place === 0) shuffle(order, luck);
    run.batch = order.subarray(place, place + batch);
    place += batch;
  }

  run.step = () => {
    nextRows();
    model.prepare();
    let loss = 0;
    for (const i of run.batch) {
      const f = model.value(data.X, i * data.p);
      loss += rowLoss(f, data.y[i], data.classes) / batch;
      model.collect(data.X, i * data.p, rowSlope(f, data.y[i], data.classes) / batch);
    }
    model.finish();
    memory.t = run.t += 1;
    STEPS[state.opt](model, state, memory);
    run.spent += state.lr * state.lam * (state.opt === "sgd" ? 1 / (1 - MOMENTUM) : 1);
    const large = model.theta.some((v) => !(Math.abs(v) < TOO_LARGE));
    run.diverged = large || !isFinite(loss);
    if (run.diverged || run.t % every === 0) remember();
    return !run.diverged;
  };

  run.measure = () => {
    model.prepare();
    model.measure?.();
    const mean = (X, y) => {
      let sum = 0;
      for (let i = 0; i < y.length; i++) {
        sum += rowLoss(model.value(X, i * data.p), y[i], data.classes);
      }
      return sum / y.length;
    };
    return { train: mean(data.X, data.y), test: mean(data.Xt, data.yt) };
  };

  // when the memory is full every second moment goes, and from then on half as many are kept
  function remember() {
    const { t, spent } = run;
    const now = { t, spent, lam: state.lam, ...run.measure(), strength: model.strength.slice() };
    run.history.push(now);
    if (run.history.length <= KEPT) return;
    run.history = run.history.filter((_, k) => k % 2 === 0);
    every *= 2;
  }

  remember();
  run.start = weightsOf(run);
  run.remember = () => run.history.at(-1).t === run.t || remember();
  return run;
}

// Steps until `enough`, or until `most` milliseconds have passed; asks the clock after each step,
// of which none takes long. Returns how many there were.
function slice(run, enough, most, clock) {
  const begin = clock();
  let done = 0;
  while (done < enough && !run.diverged && run.step()) {
    done += 1;
    if (clock() - begin >= most) break;
  }
  return done;
}

// All values of λ from the same start, one after the other in slices: next() says how much is done,
// from 0 to 1.
function makeSweep(state, lams, steps, bytes, clock) {
  const runs = [];
  let at = 0;
  function next(most) {
    const end = clock() + most;
    while (at < lams.length && clock() < end) {
      const run = (runs[at] ||= makeRun({ ...state, lam: lams[at] }, bytes));
      slice(run, steps - run.t, end - clock(), clock);
      if (run.t < steps && !run.diverged) break;
      run.remember();
      at += 1;
    }
    return (at + (runs[at] ? runs[at].t / steps : 0)) / lams.length;
  }
  return { runs, next };
}
