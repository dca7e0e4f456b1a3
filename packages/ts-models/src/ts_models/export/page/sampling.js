"use strict";
// Which token comes next: the rules of `ts_models.generation`, and its random numbers (SHA-256, SeedSequence and PCG64 of NumPy),
// so that a seed tells the same story here and there.

const BELOW_ONE = 1 - 1e-12;

function penaliseRepetition(logits, ids, penalty) {
  for (const id of new Set(ids)) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
}

function banRepeatedNgrams(logits, ids, size) {
  const tail = ids.slice(ids.length - size + 1);
  for (let start = 0; start + size <= ids.length; start++) {
    if (tail.every((id, i) => ids[start + i] === id)) logits[ids[start + size - 1]] = -Infinity;
  }
}

function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity), out = logits.map((value) => Math.exp(value - most));
  const sum = out.reduce((a, b) => a + b, 0);
  return out.map((value) => value / sum);
}

function warp(logits, { temperature, top_k, top_p, min_p }) {
  const keep = (values, least) => { logits = logits.map((value, i) => (values[i] < least ? -Infinity : value)); };
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  logits = logits.map((value) => (value - most) / Math.max(temperature, 1e-30));
  if (top_k && top_k < logits.length) keep(logits, logits.slice().sort()[logits.length - top_k]);
  if (top_p < 1) {
    const chances = softmax(logits), ordered = chances.slice().sort().reverse();
    let before = 0, kept = 0;
    while (kept < ordered.length && before < top_p) before += ordered[kept++];
    keep(chances, ordered[kept - 1]);
  }
  if (min_p > 0) {
    const chances = softmax(logits);
    keep(chances, Math.fround(min_p * chances.reduce((a, b) => Math.max(a, b), 0)));
  }
  return logits;
}

function draw(logits, uniform) {
  const chances = softmax(logits), target = uniform * BELOW_ONE * chances.reduce((a, b) => a + b, 0);
  let sum = 0, last = 0;
  for (let id = 0; id < chances.length; id++) {
    if (chances[id] > 0) last = id;
    if ((sum += chances[id]) > target) return id;
  }
  return last;
}

// One story: yields null for each token of the prompt, then { id, p, others: [[id, p], ...] } for each new one; returns why it ended.
function* generate(network, config, prompt, options) {
  const ids = [...prompt], banned = [config.bos_id, config.unk_id, config.pad_id].filter((id) => id >= 0 && id !== config.eos_id);
  const room = config.kind === "transformer" ? config.max_seq_len - prompt.length : Infinity, limit = Math.min(options.max_new_tokens, room);
  const random = options.method === "sample" ? generator(options.seed, prompt) : null;
  let logits;
  for (const id of prompt) {
    logits = network.step(id);
    yield null;
  }
  for (let step = 0; step < limit; step++) {
    const chances = softmax(logits);
    if (options.repetition_penalty !== 1) penaliseRepetition(logits, ids, options.repetition_penalty);
    if (options.no_repeat_ngram_size) banRepeatedNgrams(logits, ids, options.no_repeat_ngram_size);
    for (const id of step < options.min_new_tokens ? [...banned, config.eos_id] : banned) logits[id] = -Infinity;
    if (!logits.some(Number.isFinite)) return "nothing";
    const id = random ? draw(warp(logits, options), random()) : logits.reduce((best, value, i) => (value > logits[best] ? i : best), 0);
    const order = Array.from(chances.keys()).sort((a, b) => chances[b] - chances[a]);
    yield { id, p: chances[id], others: order.slice(0, 5).map((other) => [other, chances[other]]) };
    if (id === config.eos_id) return "eos";
    ids.push(id);
    if (step + 1 < limit) logits = network.step(id);
  }
  return limit === options.max_new_tokens ? "length" : "context";
}

// --- random numbers -------------------------------------------------------------------------------

function generator(seed, prompt) {
  const bytes = new Uint8Array(new BigInt64Array(prompt.map(BigInt)).buffer);
  const digest = sha256(bytes), words = new Uint32Array(digest.buffer);
  const size = BigInt(seed) < 0n ? -BigInt(seed) : BigInt(seed), entropy = [Number(size & 0xffffffffn)];
  for (let rest = size >> 32n; rest; rest >>= 32n) entropy.push(Number(rest & 0xffffffffn));
  const [high, low, incHigh, incLow] = seedState([...entropy, BigInt(seed) < 0n ? 1 : 0, 0, ...words]);
  const mask = (1n << 128n) - 1n, factor = 0x2360ed051fc65da44385df649fccf645n, inc = ((((incHigh << 64n) | incLow) << 1n) | 1n) & mask;
  const next = (state) => (state * factor + inc) & mask;
  let state = next((next(0n) + ((high << 64n) | low)) & mask);
  return () => {
    state = next(state);
    const mixed = (state >> 64n) ^ (state & 0xffffffffffffffffn), turn = state >> 122n;
    const turned = ((mixed >> turn) | (mixed << ((64n - turn) & 63n))) & 0xffffffffffffffffn;
    return Number(turned >> 11n) / 2 ** 53;
  };
}

function seedState(entropy) {
  const pool = new Uint32Array(4);
  let hash = 0x43b0d7e5;
  const mixIn = (value) => {
    value = (value ^ hash) >>> 0;
    hash = Math.imul(hash, 0x931e8875) >>> 0;
    value = Math.imul(value, hash) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mix = (x, y) => {
    const result = (Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715)) >>> 0;
    return (result ^ (result >>> 16)) >>> 0;
  };
  for (let i = 0; i < 4; i++) pool[i] = mixIn(entropy[i] ?? 0);
  for (let from = 0; from < 4; from++) for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], mixIn(pool[from]));
  for (let from = 4; from < entropy.length; from++) for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], mixIn(entropy[from]));
  hash = 0x8b51f9dd;
  const words = Array.from({ length: 8 }, (_, i) => {
    let value = (pool[i % 4] ^ hash) >>> 0;
    hash = Math.imul(hash, 0x58f38ded) >>> 0;
    value = Math.imul(value, hash) >>> 0;
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
  return [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
}

function sha256(bytes) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  const part = (value) => Math.floor((value - Math.floor(value)) * 2 ** 32);
  const rounds = primes.map((prime) => part(Math.cbrt(prime))), hash = primes.slice(0, 8).map((prime) => part(Math.sqrt(prime)) | 0);
  const padded = new DataView(new ArrayBuffer(((bytes.length + 72) >> 6) << 6)), w = new Int32Array(64);
  bytes.forEach((byte, i) => padded.setUint8(i, byte));
  padded.setUint8(bytes.length, 0x80);
  padded.setUint32(padded.byteLength - 4, bytes.length * 8);
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  for (let block = 0; block < padded.byteLength; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = padded.getInt32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + rounds[i] + w[i]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => { hash[i] = (hash[i] + value) | 0; });
  }
  const out = new DataView(new ArrayBuffer(32));
  hash.forEach((value, i) => out.setInt32(4 * i, value));
  return new Uint8Array(out.buffer);
}
