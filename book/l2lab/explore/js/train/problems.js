// What the trainer learns from: four problems, drawn from a seed by a generator of its own.
//
// problems.js, models.js and descent.js touch no document, so that they run and are tested without
// a page. A problem is {X, y, Xt, yt, p, truth, classes}: rows of p numbers one behind another, the
// same for testing, which inputs are true (empty: nobody knows), and whether labels are 0 and 1.

// mulberry32: 32 bits of state, the same numbers in every browser.
function generator(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b1);
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
const XOR_INPUTS = 10;
const CURVE = { 1: 0.7, 4: -0.5 };
const DEGREE = 12;

// Each problem: how its noise is meant, how many rows a step takes, and how the rows are made.
const PROBLEMS = {
  // y = 2 x₁ − 1.5 x₂ + 0.8 x₃ + noise; the other 17 of 20 inputs have no influence
  sparse: {
    noise: "noise, standard deviation",
    batch: Infinity,
    make: (rows, noise, rng) => {
      const p = 20;
      const draw = (n, spread) => {
        const X = Float64Array.from({ length: n * p }, rng.normal);
        const signal = (i) => SPARSE.reduce((sum, w, j) => sum + w * X[i * p + j], 0);
        return [X, Float64Array.from({ length: n }, (_, i) => signal(i) + spread * rng.normal())];
      };
      return split(draw(rows, noise), draw(200, noise), p, (j) => j < SPARSE.length, false);
    },
  },
  // the class says whether x₁ and x₂ have different signs; eight more inputs have no influence
  xor: {
    noise: "share of wrong labels",
    batch: 32,
    make: (rows, noise, rng) => {
      const p = XOR_INPUTS;
      const draw = (n) => {
        const X = Float64Array.from({ length: n * p }, () => 4 * rng.uniform() - 2);
        const label = (_, i) => (X[i * p] * X[i * p + 1] < 0 ? 1 : 0);
        return [X, Float64Array.from({ length: n }, label)];
      };
      const train = draw(rows);
      return split(flip(train, noise / 2, rng), draw(400), p, (j) => j < 2, true);
    },
  },
  // pictures of a 3 or an 8, pixels from 0 to 2; Python hands them over, one byte a pixel
  digits: {
    noise: "share of wrong labels",
    batch: 32,
    make: (rows, noise, rng, bytes) => {
      const p = 64;
      const total = bytes.length / (p + 1); // a row: its label, then its pixels from 0 to 16
      const order = shuffle(Array.from({ length: total }, (_, i) => i), rng);
      const take = (list) => [
        Float64Array.from(list.flatMap((i) => pixelsOf(bytes, i, p))),
        Float64Array.from(list, (i) => bytes[i * (p + 1)]),
      ];
      const train = flip(take(order.slice(0, rows)), noise / 2, rng);
      return split(train, take(order.slice(200)), p, null, true);
    },
  },
  // a sum of two Legendre polynomials; linear models see the degrees 1 to 12 as their inputs
  curve: {
    noise: "noise, standard deviation",
    batch: Infinity,
    make: (rows, noise, rng, _, network) => {
      const p = network ? 1 : DEGREE;
      const draw = (n, spread, place) => {
        const xs = Array.from({ length: n }, place);
        const y = xs.map((x) => curveAt(x) + spread * rng.normal());
        const inputs = xs.flatMap((x) => curveInputs(x, p));
        return [Float64Array.from(inputs), Float64Array.from(y)];
      };
      const train = draw(rows, noise, () => 2 * rng.uniform() - 1);
      const test = draw(201, 0, (_, i) => i / 100 - 1);
      return split(train, test, p, network ? null : (j) => j + 1 in CURVE, false);
    },
  },
};

function split([X, y], [Xt, yt], p, isTrue, classes) {
  const truth = isTrue ? Array.from({ length: p }, (_, j) => isTrue(j)) : [];
  return { X, y, Xt, yt, p, truth, classes };
}

function flip([X, y], share, rng) {
  return [X, y.map((label) => (rng.uniform() < share ? 1 - label : label))];
}

const pixelsOf = (bytes, i, p) =>
  Array.from(bytes.subarray(i * (p + 1) + 1, (i + 1) * (p + 1)), (v) => v / 8);

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
