// What the trainer trains: models with one output, their numbers and gradients in typed arrays.
//
// A model is {theta, grad, weights, strength, prepare, value, collect, finish}: its numbers and the
// gradient of the mean loss, of which the first `weights` are penalized and the rest are biases.
// Before a pass prepare() reads theta; value(X, at) is the output for the row that begins at `at`;
// collect(X, at, d) adds this last row's share, d being the slope of the loss there; finish()
// leaves the gradient of all rows in `grad`. `strength` has a number for each input: its weight, or
// the length of its column in the first layer.

const HIDDEN = 16;
const MODELS = {
  w: (p, rng) => productModel(p, 1, rng),
  uv: (p, rng) => productModel(p, 2, rng),
  uvz: (p, rng) => productModel(p, 3, rng),
  mlp: (p, rng) => networkModel(p, false, rng),
  gates: (p, rng) => networkModel(p, true, rng),
};
const isNetwork = (model) => model === "mlp" || model === "gates";
const START = 0.3; // as in the book's introduction
const DEEP_START = 0.6; // a product of three begins smaller and would rest near 0 for long

// f(x) = w·x + b, where w is the product of `depth` factors per input.
function productModel(p, depth, rng) {
  const weights = depth * p;
  const theta = new Float64Array(weights + 1);
  const grad = new Float64Array(weights + 1);
  const w = new Float64Array(p);
  const slope = new Float64Array(p);
  // all factors but the last begin equal, the last at random
  for (let k = 0; k < weights; k++) {
    theta[k] = k < weights - p ? (depth > 2 ? DEEP_START : START) : START * rng.normal();
  }

  function prepare() {
    grad.fill(0);
    slope.fill(0);
    for (let j = 0; j < p; j++) {
      w[j] = theta[j];
      for (let k = j + p; k < weights; k += p) w[j] *= theta[k];
    }
  }

  function value(X, at) {
    let sum = theta[weights];
    for (let j = 0; j < p; j++) sum += w[j] * X[at + j];
    return sum;
  }

  function collect(X, at, d) {
    for (let j = 0; j < p; j++) slope[j] += d * X[at + j];
    grad[weights] += d;
  }

  // the slope of a factor is that of w times all other factors
  function finish() {
    for (let k = 0; k < weights; k++) {
      let others = slope[k % p];
      for (let m = k % p; m < weights; m += p) if (m !== k) others *= theta[m];
      grad[k] = others;
    }
  }

  prepare();
  return { theta, grad, weights, strength: w, prepare, value, collect, finish, depth };
}

// f(x) = a·max(0, V (g ∘ x) + c) + b; without gates all g are 1 and stay so.
function networkModel(p, gated, rng) {
  const H = HIDDEN;
  const first = gated ? p : 0; // theta: gates, V by rows, a | c, b
  const weights = first + H * p + H;
  const theta = new Float64Array(weights + H + 1);
  const grad = new Float64Array(theta.length);
  const g = gated ? theta.subarray(0, p) : new Float64Array(p).fill(1);
  const V = theta.subarray(first, first + H * p);
  const a = theta.subarray(first + H * p, weights);
  const c = theta.subarray(weights, weights + H);
  const W = new Float64Array(H * p);
  const slope = new Float64Array(H * p);
  const hidden = new Float64Array(H);
  const strength = new Float64Array(p);
  g.fill(1);
  for (let k = 0; k < V.length; k++) V[k] = Math.sqrt(2 / p) * rng.normal();
  for (let h = 0; h < H; h++) a[h] = Math.sqrt(1 / H) * rng.normal();

  function prepare() {
    grad.fill(0);
    slope.fill(0);
    for (let k = 0; k < W.length; k++) W[k] = V[k] * g[k % p];
  }

  function value(X, at) {
    let sum = theta[weights + H];
    for (let h = 0; h < H; h++) {
      let z = c[h];
      for (let j = 0; j < p; j++) z += W[h * p + j] * X[at + j];
      hidden[h] = Math.max(z, 0);
      sum += a[h] * hidden[h];
    }
    return sum;
  }

  function collect(X, at, d) {
    grad[weights + H] += d;
    for (let h = 0; h < H; h++) {
      grad[first + H * p + h] += d * hidden[h];
      if (!hidden[h]) continue;
      const back = d * a[h];
      grad[weights + h] += back;
      for (let j = 0; j < p; j++) slope[h * p + j] += back * X[at + j];
    }
  }

  function finish() {
    for (let k = 0; k < W.length; k++) {
      grad[first + k] = slope[k] * g[k % p];
      if (gated) grad[k % p] += slope[k] * V[k];
    }
  }

  const measure = () => {
    strength.fill(0);
    for (let k = 0; k < W.length; k++) strength[k % p] += W[k] * W[k];
    for (let j = 0; j < p; j++) strength[j] = Math.sqrt(strength[j]);
  };
  prepare();
  measure();
  const own = { theta, grad, weights, strength, prepare, value, collect, finish };
  return { ...own, measure, depth: gated ? 2 : 1 };
}
