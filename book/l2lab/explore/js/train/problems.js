// What the trainer learns from: four problems, drawn from a seed by a generator of its own.
//
// problems.js, models.js and descent.js touch no document, so that they run and are tested without
// a page. A problem is {X, y, Xt, yt, p, truth, classes, batch}: rows of p numbers one behind
// another, the same for testing, which inputs are true (empty: nobody knows), whether labels are 0
// and 1, and how many rows a step takes.

// mulberry32: 32 bits of state, the same numbers in every browser.
function generator(seed) {
  let state = Math.imul((seed + 1) ^ 0x2545f491, 0x85ebca6b);
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  // Box and Muller; 1 − u is never 0
  const normal = () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  };
  return { uniform, normal };
}

// A permutation of 0 … n − 1, in place.
function shuffle(order, { uniform }) {
  for (let k = order.length - 1; k > 0; k--) {
    const other = Math.floor(uniform() * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

const SPARSE = [2, -1.5, 0.8];
const CURVE = { 1: 0.7, 4: -0.5 };
const DEGREE = 12;

const PROBLEMS = {
  // y = 2 x₁ − 1.5 x₂ + 0.8 x₃ + noise; the other 17 of 20 inputs have no influence
  sparse(rows, noise, rng) {
    const p = 20;
    const draw = (n) => {
      const X = Float64Array.from({ length: n * p }, rng.normal);
      const signal = (i) => SPARSE.reduce((sum, w, j) => sum + w * X[i * p + j], 0);
      return [X, Float64Array.from({ length: n }, (_, i) => signal(i) + noise * rng.normal())];
    };
    return split(draw(rows), draw(200), p, SPARSE.keys());
  },

  // the class says whether x₁ and x₂ have different signs; eight more inputs have no influence
  xor(rows, noise, rng) {
    const p = 10;
    const draw = (n) => {
      const X = Float64Array.from({ length: n * p }, () => 4 * rng.uniform() - 2);
      const label = (_, i) => (X[i * p] * X[i * p + 1] < 0 ? 1 : 0);
      return [X, Float64Array.from({ length: n }, label)];
    };
    return { ...split(flip(draw(rows), noise, rng), draw(400), p, [0, 1]), ...CLASSES };
  },

  // pictures of a 3 or an 8, pixels from 0 to 2; Python hands over rows of bytes: label and pixels
  digits(rows, noise, rng, bytes) {
    const p = 64;
    const row = (i) => Array.from(bytes.subarray(i * (p + 1), (i + 1) * (p + 1)));
    const total = bytes.length / (p + 1);
    const order = shuffle(Array.from({ length: total }, (_, i) => i), rng).map(row);
    const take = (list) => [
      Float64Array.from(list.flatMap((own) => own.slice(1).map((v) => v / 8))),
      Float64Array.from(list, (own) => own[0]),
    ];
    const train = flip(take(order.slice(0, rows)), noise, rng);
    return { ...split(train, take(order.slice(200)), p, []), ...CLASSES };
  },

  // a sum of two Legendre polynomials; linear models see the degrees 1 to 12 as their inputs
  curve(rows, noise, rng, _, network) {
    const p = network ? 1 : DEGREE;
    const draw = (n, spread, place) => {
      const xs = Array.from({ length: n }, place);
      const X = Float64Array.from(xs.flatMap((x) => curveInputs(x, p)));
      return [X, Float64Array.from(xs, (x) => curveAt(x) + spread * rng.normal())];
    };
    const train = draw(rows, noise, () => 2 * rng.uniform() - 1);
    const test = draw(201, 0, (_, i) => i / 100 - 1);
    return split(train, test, p, network ? [] : Object.keys(CURVE).map((k) => k - 1));
  },
};
const CLASSES = { classes: true, batch: 32 };

function split([X, y], [Xt, yt], p, which) {
  const known = [...which];
  const truth = known.length ? Array.from({ length: p }, (_, j) => known.includes(j)) : [];
  return { X, y, Xt, yt, p, truth, classes: false, batch: Infinity };
}

// `noise` is the share of labels that are drawn at random, half of which are wrong then.
function flip([X, y], noise, rng) {
  return [X, y.map((label) => (rng.uniform() < noise / 2 ? 1 - label : label))];
}

// Legendre polynomials with mean square 1: √(2k + 1) P_k.
function legendre(x) {
  const P = [1, x];
  for (let k = 1; k < DEGREE; k++) P.push(((2 * k + 1) * x * P[k] - k * P[k - 1]) / (k + 1));
  return P.map((v, k) => v * Math.sqrt(2 * k + 1));
}

const curveInputs = (x, p) => (p === 1 ? [x] : legendre(x).slice(1));
const curveAt = (x) => {
  const phi = legendre(x);
  return Object.entries(CURVE).reduce((sum, [k, c]) => sum + c * phi[k], 0);
};
