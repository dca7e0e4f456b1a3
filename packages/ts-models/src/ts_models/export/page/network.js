"use strict";
// The networks: one id in, logits out. A tensor has `data` (Float32Array, row by row), `rows` and `columns`.
// Arithmetic is in double precision, values are kept in single precision.

// `index` has for each name its rows, its columns, and where its floats and its int8 values begin; int8 rows have a factor each.
function unpackTensors(index, buffer) {
  const tensors = {};
  for (const [name, [rows, columns, floats, bytes]] of Object.entries(index)) {
    const scales = new Float32Array(buffer, floats, bytes === null ? rows * columns : rows);
    tensors[name] = { data: bytes === null ? scales : new Float32Array(rows * columns), rows, columns };
    if (bytes === null) continue;
    const whole = new Int8Array(buffer, bytes, rows * columns), { data } = tensors[name];
    for (let row = 0, at = 0; row < rows; row++) for (let i = 0; i < columns; i++, at++) data[at] = whole[at] * scales[row];
  }
  return tensors;
}

function product(matrix, x, bias) {
  const { data, rows, columns } = matrix, out = new Float32Array(rows), whole = columns - (columns % 4);
  for (let row = 0, at = 0; row < rows; row++) {
    let a = 0, b = 0, c = 0, d = 0, i = 0;
    for (; i < whole; i += 4, at += 4) {
      a += data[at] * x[i]; b += data[at + 1] * x[i + 1]; c += data[at + 2] * x[i + 2]; d += data[at + 3] * x[i + 3];
    }
    for (; i < columns; i++, at++) a += data[at] * x[i];
    out[row] = a + b + (c + d) + (bias ? bias.data[row] : 0);
  }
  return out;
}

const rowOf = (matrix, row) => matrix.data.slice(row * matrix.columns, (row + 1) * matrix.columns);
const add = (x, y) => { for (let i = 0; i < x.length; i++) x[i] += y[i]; return x; };
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

function erf(x) {
  const y = Math.abs(x);
  if (y > 5) return Math.sign(x);
  let term = y, sum = y;
  for (let n = 1; term > 1e-12 * sum; n++) { term *= (2 * y * y) / (2 * n + 1); sum += term; }
  return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-y * y) * sum;
}

const ACTIVATIONS = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  "gelu-tanh": (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu2: (x) => Math.max(x, 0) ** 2,
  swiglu: (gate) => gate * sigmoid(gate),
};

class Transformer {
  constructor(config, tensors) {
    this.config = config;
    this.tensors = tensors;
    this.headSize = config.head_dim ?? config.d_model / config.n_heads;
    this.kvHeads = config.n_kv_heads ?? config.n_heads;
    this.position = 0;
    const room = () => Array.from({ length: config.n_layers }, () => new Float32Array(config.max_seq_len * this.kvHeads * this.headSize));
    this.keys = room();
    this.values = room();
  }

  step(id) {
    const { config, tensors } = this;
    const angles = tensors.rates?.data.map((rate) => this.position * rate); // in single precision, as PyTorch's
    let x = this.place(rowOf(tensors["embedding.weight"], id), angles);
    for (let layer = 0; layer < config.n_layers; layer++) x = this.block(x, layer, angles);
    this.position += 1;
    if (config.final_norm) x = this.norm(x, "norm");
    return config.tie_embeddings ? product(tensors["embedding.weight"], x) : this.linear(x, "head");
  }

  linear(x, name) { return product(this.tensors[name + ".weight"], x, this.tensors[name + ".bias"]); }

  norm(x, name) {
    const weight = this.tensors[name + ".weight"].data, bias = this.tensors[name + ".bias"]?.data;
    const mean = this.config.norm === "layernorm" ? x.reduce((sum, value) => sum + value, 0) / x.length : 0;
    const factor = 1 / Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length + this.config.norm_eps);
    return x.map((value, i) => (value - mean) * factor * weight[i] + (bias ? bias[i] : 0));
  }

  place(x, angles) {
    const { positions } = this.config;
    if (positions === "learned") return add(x, rowOf(this.tensors["positions.weight"], this.position));
    if (positions === "sinusoidal") return x.map((value, i) => value + (i % 2 ? Math.cos(angles[i >> 1]) : Math.sin(angles[i >> 1])));
    if (positions !== "rope-embedding") return x;
    return x.map((value, i) => {
      const angle = angles[(i % this.headSize) >> 1];
      return i % 2 ? value * Math.cos(angle) + x[i - 1] * Math.sin(angle) : value * Math.cos(angle) - x[i + 1] * Math.sin(angle);
    });
  }

  block(x, layer, angles) {
    const name = `blocks.${layer}.`, norm = (values, which) => this.norm(values, name + which);
    if (this.config.norm_first) {
      x = add(x, this.attention(norm(x, "norm1"), layer, angles));
      return add(x, this.feedForward(norm(x, "norm2"), name));
    }
    x = norm(add(x, this.attention(x, layer, angles)), "norm1");
    return norm(add(x, this.feedForward(x, name)), "norm2");
  }

  feedForward(x, name) {
    const { feed_forward: kind, d_ff: wide } = this.config, activation = ACTIVATIONS[kind];
    const up = this.linear(x, name + "feed_forward.up"), inner = up.subarray(0, wide).map(activation);
    if (kind === "swiglu") for (let i = 0; i < wide; i++) inner[i] *= up[wide + i];
    return this.linear(inner, name + "feed_forward.down");
  }

  attention(x, layer, angles) {
    const { config, headSize, kvHeads, position } = this, name = `blocks.${layer}.attention.`, width = kvHeads * headSize;
    const rows = this.linear(x, name + "qkv"), inner = config.n_heads * headSize, mixed = new Float32Array(inner);
    const head = (at, which) => {
      const own = rows.slice(at, at + headSize), normed = config.qk_norm ? this.norm(own, `${name}${which}_norm`) : own;
      return config.positions === "rope" ? this.rotate(normed, angles) : normed;
    };
    for (let h = 0; h < kvHeads; h++) this.keys[layer].set(head(inner + h * headSize, "k"), position * width + h * headSize);
    this.values[layer].set(rows.subarray(inner + width), position * width);
    const scale = config.attention_scale ?? 1 / Math.sqrt(headSize);
    const first = config.local_layers.includes(layer) ? Math.max(0, position + 1 - config.local_window) : 0;
    for (let h = 0; h < config.n_heads; h++) {
      const group = Math.floor(h / (config.n_heads / kvHeads)) * headSize;
      this.mix(head(h * headSize, "q"), layer, first, group, scale, mixed.subarray(h * headSize, (h + 1) * headSize));
    }
    return this.linear(mixed, name + "out");
  }

  mix(query, layer, first, group, scale, out) {
    const keys = this.keys[layer], values = this.values[layer], size = this.headSize, width = this.kvHeads * size;
    const weights = new Float64Array(this.position + 1 - first);
    let most = -Infinity, sum = 0;
    for (let t = 0; t < weights.length; t++) {
      let score = 0;
      for (let i = 0, at = (first + t) * width + group; i < size; i++, at++) score += query[i] * keys[at];
      weights[t] = score * scale;
      most = Math.max(most, weights[t]);
    }
    for (let t = 0; t < weights.length; t++) sum += weights[t] = Math.exp(weights[t] - most);
    const total = new Float64Array(size);
    for (let t = 0; t < weights.length; t++) {
      for (let i = 0, at = (first + t) * width + group; i < size; i++, at++) total[i] += weights[t] * values[at];
    }
    for (let i = 0; i < size; i++) out[i] = total[i] / sum;
  }

  rotate(x, angles) {
    const half = x.length / 2;
    return x.map((value, i) => {
      const angle = angles[i % half];
      return value * Math.cos(angle) + (i < half ? -x[i + half] : x[i - half]) * Math.sin(angle);
    });
  }
}

class Recurrent {
  constructor(config, tensors) {
    this.config = config;
    this.tensors = tensors;
    const zeros = () => Array.from({ length: config.n_layers }, () => new Float32Array(config.d_hidden));
    this.hidden = zeros();
    this.cell = zeros();
  }

  step(id) {
    let x = rowOf(this.tensors["embedding.weight"], id);
    for (let layer = 0; layer < this.config.n_layers; layer++) x = this.hidden[layer] = this.layer(x, layer);
    return product(this.tensors["head.weight"], x, this.tensors["head.bias"]);
  }

  layer(x, layer) {
    const size = this.config.d_hidden, before = this.hidden[layer], cell = this.cell[layer];
    const part = (which, values) => product(this.tensors[`rnn.weight_${which}_l${layer}`], values, this.tensors[`rnn.bias_${which}_l${layer}`]);
    const a = part("ih", x), b = part("hh", before), gate = (i, number) => a[number * size + i] + b[number * size + i];
    if (this.config.kind === "rnn") return before.map((_, i) => Math.tanh(gate(i, 0)));
    if (this.config.kind === "gru") {
      return before.map((old, i) => {
        const update = sigmoid(gate(i, 1)), fresh = Math.tanh(a[2 * size + i] + sigmoid(gate(i, 0)) * b[2 * size + i]);
        return (1 - update) * fresh + update * old;
      });
    }
    return before.map((_, i) => {
      cell[i] = sigmoid(gate(i, 1)) * cell[i] + sigmoid(gate(i, 0)) * Math.tanh(gate(i, 2));
      return sigmoid(gate(i, 3)) * Math.tanh(cell[i]);
    });
  }
}

const makeNetwork = (config, tensors) => new (config.kind === "transformer" ? Transformer : Recurrent)(config, tensors);
