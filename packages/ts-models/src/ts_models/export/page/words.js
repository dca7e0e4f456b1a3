"use strict";
// Text to ids and back: spaCy's English rules, and the detokenizer of ts-tokenizer (`rules/linear.py`, `fast/loops.py`).

const UNIT = 1024, UNSURE = 6 * UNIT, LOOK_AHEAD = 3, NEVER = 2 ** 40;
const QUOTE = 8, APOSTROPHE = 16, BREAK = 32, WORD = 64, CASELESS = 128;
const SPECIALS = ["<eos>", "<bos>", "<unk>", "<pad>"];

function fromBase64(text) {
  const chars = atob(text), bytes = new Uint8Array(chars.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = chars.charCodeAt(i);
  return bytes;
}

// --- text to tokens: prefixes, the middle, suffixes, then special cases over the whole text -------

class Rules {
  constructor({ prefix, suffix, infix, url, exceptions }) {
    const compile = (pattern, flags = "u") => new RegExp(pattern, flags);
    this.prefix = compile(prefix); this.suffix = compile(suffix); this.infix = compile(infix, "gu"); this.url = compile(url);
    this.tree = new Map();
    this.cases = new Map();
    const patterns = [/ /, this.prefix, this.suffix, this.infix];
    const odd = Object.keys(exceptions).filter((text) => patterns.some((pattern) => text.search(pattern) >= 0));
    for (const tokens of odd.map((text) => this.split(text))) {
      let node = this.tree;
      for (const token of tokens) {
        if (!node.has(token)) node.set(token, new Map());
        node = node.get(token);
      }
      node.ends = true;
    }
    this.cases = new Map(Object.entries(exceptions));
  }

  split(text) {
    const tokens = [], spaced = [];
    for (let run of text.match(/\S+|\s+/gu) ?? []) {
      if (run[0] === " " && tokens.length) {
        spaced[spaced.length - 1] = " ";
        run = run.slice(1);
      }
      if (!run) continue;
      tokens.push(...this.chunk(run));
      while (spaced.length < tokens.length) spaced.push("");
    }
    return this.merge(tokens, spaced);
  }

  chunk(rest) {
    const prefixes = [], suffixes = [];
    let size = -1;
    while (rest && rest.length !== size && !this.cases.has(rest)) {
      size = rest.length;
      const prefix = rest.match(this.prefix)?.[0] ?? "", inner = rest.slice(prefix.length);
      if (prefix) prefixes.push(prefix);
      if (prefix && this.cases.has(inner)) { rest = inner; break; }
      const suffix = inner.match(this.suffix)?.[0] ?? "", outer = rest.slice(0, rest.length - suffix.length);
      if (suffix) suffixes.unshift(suffix);
      if (suffix && this.cases.has(outer)) {
        if (prefix) prefixes.pop(); // spaCy looks for the case with the prefix still on it
        rest = outer;
        break;
      }
      rest = inner.slice(0, inner.length - suffix.length);
    }
    return [...prefixes, ...this.middle(rest), ...suffixes];
  }

  middle(text) {
    if (this.cases.has(text)) return this.cases.get(text);
    if (this.url.test(text)) return [text];
    const tokens = [];
    let start = 0;
    for (const infix of text.matchAll(this.infix)) {
      if (infix.index === 0) continue;
      tokens.push(text.slice(start, infix.index), infix[0]);
      start = infix.index + infix[0].length;
    }
    return [...tokens, text.slice(start)].filter(Boolean);
  }

  merge(tokens, spaced) {
    const out = [];
    let at = 0;
    for (const [start, end] of this.spans(tokens)) {
      const text = tokens.slice(start, end).map((token, i) => token + (start + i < end - 1 ? spaced[start + i] : "")).join("");
      out.push(...tokens.slice(at, start), ...(this.cases.get(text) ?? tokens.slice(start, end)));
      at = end;
    }
    return [...out, ...tokens.slice(at)];
  }

  spans(tokens) {
    const found = [], chosen = [], seen = new Set();
    for (let start = 0; start < tokens.length; start++) {
      let node = this.tree.get(tokens[start]);
      for (let end = start + 1; node; end++) {
        if (node.ends) found.push([start, end]);
        node = node.get(tokens[end]);
      }
    }
    for (const [start, end] of found.sort((a, b) => b[1] - b[0] - (a[1] - a[0]) || a[0] - b[0])) {
      if (!seen.has(start) && !seen.has(end - 1)) chosen.push([start, end]);
      for (let i = start; i < end; i++) seen.add(i);
    }
    return chosen.sort((a, b) => a[0] - b[0]);
  }
}

// What prompts get of the corpus' cleaning rules, by the rule's name.
const CLEANING = {
  invisible: (text) => text.replace(/([\u2190-\u2bff\u{1f000}-\u{1faff}]\ufe0f?\u200d(?=[\u2190-\u2bff\u{1f000}-\u{1faff}]))|[\u00ad\u200b-\u200f\u2060\ufeff]/gu, "$1"),
  quotes: (text) => text.replace(/[“”„‟«»″〝〞]|``|''/gu, '"').replace(/[’‘‛′ʼʹ´‹›`]/gu, "'"),
  ellipses: (text) => text.replace(/…[.…]*|(?<![0-9])\.\.(?![\\/])[.…]*/gu, "...").replace(/(\w)\s+\.\.\.(?!\w)/gu, "$1...").replace(/([\w?!,])\.\.\.(?=\w)/gu, "$1... "),
  whitespace: (text) => text.trim().replace(/\s+/gu, " "),
  dashes: (text) => text.replace(/ *(?:[‒–—―]|--+) *| - (?![$]?[0-9])/gu, " — "),
};

// --- ids to text ----------------------------------------------------------------------------------

class Words {
  constructor({ vocab, rules, decoder, cleaning }) {
    this.vocab = vocab;
    this.numbers = new Map(vocab.map((token, id) => [token, id]));
    this.rules = new Rules(rules);
    this.cleaning = cleaning;
    this.none = vocab.length - 1;
    this.unk = vocab.length - 2;
    this.parity = decoder.quotes === "parity";
    this.together = decoder.together;
    this.witness = decoder.witness ?? 0;
    this.kinds = kindsOf(vocab, fromBase64(decoder.classes));
    this.tables = unpackWeights(decoder);
  }

  encode(prompt) {
    for (const [name, clean] of Object.entries(CLEANING)) if (this.cleaning.includes(name)) prompt = clean(prompt);
    const known = (token) => (SPECIALS.includes(token) ? undefined : this.numbers.get(token));
    const tokens = this.rules.split(prompt.toLowerCase()), ids = tokens.map((token) => known(token) ?? this.unk);
    return { ids, unknown: [...new Set(tokens.filter((token) => known(token) === undefined))] };
  }

  // The text of each token, its leading blank included; of special tokens only `<unk>` is shown.
  pieces(ids) {
    const shown = ids.filter((id) => id < this.vocab.length - 4 || id === this.unk), scores = this.scores(shown);
    const texts = shown.map((id, i) => {
      const [blank, capital, capitals] = scores[i], token = this.vocab[id];
      if (id === this.unk || (capital <= 0 && capitals <= 0)) return (blank > 0 ? " " : "") + token;
      const first = String.fromCodePoint(token.codePointAt(0));
      return (blank > 0 ? " " : "") + (capitals > Math.max(capital, 0) ? token.toUpperCase() : first.toUpperCase() + token.slice(first.length));
    });
    return ids.map((id) => (id < this.vocab.length - 4 || id === this.unk ? texts.shift() : ""));
  }

  // What the new ids add behind the beginning: a text for each.
  continuation(beginning, ids) {
    const before = this.pieces(beginning).join(""), all = this.pieces([...beginning, ...ids]), after = all.slice(beginning.length);
    if (all.slice(0, beginning.length).join("") === before) return after;
    const alone = this.pieces(ids);
    return all.join("").startsWith(before) ? [all.join("").slice(before.length), ...after.slice(1).fill("")] : [" " + alone[0], ...alone.slice(1)];
  }

  weight(template, high, middle, low) { return this.tables[template]?.get(high * 2 ** 32 + middle * 65536 + low) ?? 0; }

  scores(ids) {
    const walk = { decided: 0, blank: 1, inner: this.none, since: 0 }, scores = [];
    let parity = 0;
    ids.forEach((id, i) => {
      const at = (j) => ids[i + j] ?? this.none, kind = this.kinds[id];
      const blank = i ? this.spaceScore(at, this.parity ? parity : this.openQuotes(at(-1), i, walk), walk) : 0;
      this.takeBlank(at, i, blank > 0 ? 1 : 0, walk);
      scores.push([blank, ...(this.hasCase(id) ? this.caseScores(at, i, ids.length, this.parity ? parity : walk.decided, walk) : [0, 0])]);
      parity = kind & QUOTE ? parity ^ 1 : kind & APOSTROPHE ? parity ^ 2 : kind & BREAK ? 0 : parity;
    });
    this.addStoryScores(ids, scores);
    if (this.together > 0) this.decideTogether(ids, scores);
    if (this.together > 0 && this.witness > 0) this.spreadCapitals(ids, scores);
    return scores;
  }

  hasCase(id) { return id !== this.unk && !(this.kinds[id] & CASELESS); }

  spaceScore(at, state, { decided, blank: before }) {
    const { kinds, none } = this, [z, a, b, c, d, e] = [-3, -2, -1, 0, 1, 2].map(at), double = state & 1;
    const left = (id) => (kinds[id] >> 11) & 7, right = (id) => (kinds[id] >> 14) & 7, marks = QUOTE | APOSTROPHE;
    let total = 0;
    const add = (template, high, middle, low) => { total += this.weight(template, high, middle, low); };
    add(0, 0, 0, c); add(1, 0, 0, b); add(2, 0, b, c); add(3, a, b, c); add(4 + double, 0, b, c); add(6, b, c, d);
    add(7 + double, 0, 0, c); add(9 + double, 0, 0, b); add(11 + state, 0, b, c); add(15 + state, 0, c, d); add(19 + double, 0, a, b);
    const wide = kinds[c] & marks ? c : none; // quotes use more context
    add(21 + double, 0, a, wide); add(23 + double, 0, e, wide); add(25 + double, 0, z, wide);
    add(64, 0, 0, (left(c) << 8) | (right(b) << 4) | decided); add(65, 0, left(c), b); add(66, 0, right(b), c);
    if (kinds[b] & marks) {
      const t = (decided << 1) | before, alike = ((kinds[b] & APOSTROPHE ? (decided >> 1) & 1 : decided & 1) << 1) | before;
      add(67, 0, t, b); add(68, t, b, c); add(69, t, b, a); add(70, t, b, (left(c) << 8) | right(a));
      add(86, 0, 0, alike); add(87, 0, 0, (alike << 8) | (left(c) << 4) | right(a));
    }
    if (kinds[c] & marks) {
      const alike = kinds[c] & APOSTROPHE ? (decided >> 1) & 1 : decided & 1, near = [1, 2, 3].find((j) => at(j) === c) ?? 0;
      add(71, decided, c, b); add(72, decided, c, d); add(73, decided, c, (right(b) << 8) | left(d));
      add(74, decided, c, (near << 8) | right(b)); add(75, b, (near << 8) | decided, c); add(88, alike, 0, b);
      add(89, alike, 0, (near << 8) | (right(b) << 4) | left(d)); add(92, alike, b, a); add(93, alike, b, d);
    }
    return total;
  }

  caseScores(at, i, length, state, walk) {
    const { kinds } = this, [z, a, b, c, d, e, f] = [-3, -2, -1, 0, 1, 2, 3].map(at), k = kinds[c] & 7, q = state & 1;
    let capital = 0, capitals = 0;
    const add = (template, high, middle, low) => {
      capital += this.weight(template, high, middle, low);
      capitals += this.weight(256 + template, high, middle, low);
    };
    add(32, 0, 0, c); add(33, 0, 0, b); add(34, 0, b, c); add(35, 0, a, b); add(36, a, b, c); add(37, 0, c, d); add(38, b, c, d);
    add(39 + q, k, a, b); add(41 + q, k, 0, b); add(43 + q, 0, b, c); add(45, k, b, d); add(46, k, 0, d); add(47, c, d, e);
    add(48, z, a, b); add(49, k, d, e); add(50, k, z, a); add(51, 0, k, (state & 3) << 8);
    if (!(kinds[b] & QUOTE)) {
      add(58, 0, z, c); add(59, 0, a, c); add(60, 0, c, e); add(61 + q, 0, 0, c); add(63, k, a, d);
      return [capital, capitals];
    }
    // After a closing quotation mark: a new sentence, or "said Tom".
    add(52 + q, a, c, d); add(54 + q, 0, a, d); add(54 + q, 0, a, e); add(54 + q, 0, a, f); add(56 + q, k, a, c);
    if (walk.decided & 1) {
      add(76, (k << 8) | Math.min(walk.since, 7), walk.inner, a); add(77, walk.inner, a, c); add(78, k, walk.inner, a);
      return [capital, capitals];
    }
    const speaks = (id) => (kinds[id] >> 8) & 7;
    let verb = 0, where = 0, end = this.none, size = 7, last = this.none;
    for (let j = 0; j <= LOOK_AHEAD && i + j < length && end === this.none; j++) {
      if (!(kinds[at(j)] & WORD)) [end, size, last] = [at(j), j, at(j - 1)];
      else if (speaks(at(j)) > verb) [verb, where] = [speaks(at(j)), j];
    }
    add(79, where, verb, a); add(80, verb, a, c); add(81, k, verb, a); add(82, end, verb, a); add(83, speaks(c), verb, a);
    add(84, verb, end, c); add(85, (verb << 8) | where, a, c); add(90, size << 8, last, a); add(91, size << 8, last, c);
    return [capital, capitals];
  }

  openQuotes(before, i, walk) {
    const kind = this.kinds[before];
    if (i === 0) return 0;
    if (kind & QUOTE) return (walk.decided & 2) | walk.blank;
    if (kind & APOSTROPHE) return (walk.decided & 1) | (walk.blank << 1);
    return kind & BREAK ? 0 : walk.decided;
  }

  takeBlank(at, i, blank, walk) {
    if (i > 0) {
      const was = walk.decided;
      walk.decided = nextDecided(was, this.kinds[at(-1)], walk.blank, blank, i === 1);
      if (was & 1 && !(walk.decided & 1) && i > 1) {
        walk.inner = at(-2);
        walk.since = 0;
      }
      walk.blank = blank;
    }
    walk.since += 1;
  }

  // Evidence of the word's other occurrences in the story: one inside a sentence votes by its score.
  addStoryScores(ids, scores) {
    const words = new Map(), clip = (score) => Math.min(Math.max(score, -4 * UNIT), 4 * UNIT), own = scores.map((three) => three[1]);
    const inside = (i) => (i > 0 && this.kinds[ids[i - 1]] & WORD ? 1 : 0);
    ids.forEach((id, i) => {
      if (!this.hasCase(id)) return;
      if (!words.has(id)) words.set(id, { places: 0, votes: [] });
      words.get(id).places += 1;
      if (inside(i)) words.get(id).votes.push(own[i]);
    });
    for (const word of words.values()) word.votes.sort((a, b) => a - b);
    ids.forEach((id, i) => {
      if (!this.hasCase(id)) return;
      const { places, votes } = words.get(id), others = [...votes];
      if (inside(i)) others.splice(others.indexOf(own[i]), 1);
      const pool = others.reduce((sum, score) => sum + clip(score), 0), kind = ((this.kinds[id] & 7) << 1) | inside(i), mine = grade(own[i]);
      const bucket = Math.min(Math.max(Math.floor((pool + 8.5 * UNIT) / UNIT), 0), 16), voters = Math.min(others.length, 4), seen = Math.min(places - 1, 4);
      const most = others.length ? (grade(others[others.length - 1]) + 1) >> 1 : 31, least = others.length ? (grade(others[0]) + 1) >> 1 : 31;
      const rows = [
        [0, (kind << 8) | bucket], [kind, (most << 8) | least], [kind, (mine << 8) | bucket], [kind, (mine << 8) | most], [kind, (mine << 8) | least],
        [kind, (voters << 8) | bucket], [mine, (most << 8) | least], [kind, (mine << 8) | seen], [kind, (most << 8) | seen],
        [0, id * 256 + bucket], [id, (most << 8) | least],
      ];
      rows.forEach(([middle, low], j) => { scores[i][1] += this.weight(96 + j, 0, middle, low); });
      if (Math.abs(own[i]) >= UNSURE) return;
      [i - 1, i + 1].forEach((j, side) => { scores[i][1] += this.weight(129 + side, ids[j] ?? this.none, id, bucket); });
    });
  }

  // Unsure occurrences of a word get the mean score of those that are not quite sure.
  decideTogether(ids, scores) {
    const heard = new Map(), below = (i, limit) => Math.abs(scores[i][1]) < limit && scores[i][2] <= 0;
    ids.forEach((id, i) => {
      if (this.hasCase(id) && below(i, Math.max(this.together, this.witness))) heard.set(id, [...(heard.get(id) ?? []), scores[i][1]]);
    });
    ids.forEach((id, i) => {
      const all = heard.get(id);
      if (all && below(i, this.together)) scores[i][1] = Math.floor(all.reduce((sum, score) => sum + score, 0) / all.length);
    });
  }

  // A word takes all capitals wherever they lack less than they gain at its surest place in the story.
  spreadCapitals(ids, scores) {
    const most = new Map(), other = (i) => Math.max(scores[i][1], 0);
    ids.forEach((id, i) => most.set(id, Math.max(most.get(id) ?? 0, scores[i][2] - other(i))));
    ids.forEach((id, i) => {
      if (id !== this.unk && scores[i][2] <= other(i) && other(i) < scores[i][2] + most.get(id)) scores[i][2] = other(i) + 1;
    });
  }
}

function grade(score) {
  const size = Math.floor((Math.abs(score) * 4) / UNIT), steps = [2, 4, 7, 10, 14, 18, 24, 32].filter((bound) => size >= bound).length;
  return score > 0 ? 9 + steps : 8 - steps;
}

function nextDecided(decided, kind, before, blank, first) {
  const bit = kind & QUOTE ? 1 : kind & APOSTROPHE ? 2 : 0;
  if (bit && before === 1 && blank === 0) return decided | bit;
  if (bit && before === 0 && blank === 1) return decided & ~bit;
  if (kind & QUOTE) return first ? decided | 1 : decided ^ 1;
  return kind & BREAK ? 0 : decided;
}

function kindsOf(vocab, classes) {
  return vocab.map((token, id) => {
    let kind = { '"': QUOTE, "'": APOSTROPHE }[token] ?? (token.includes("\n") ? BREAK : 0);
    [0, 8, 11, 14].forEach((shift, row) => { kind |= (classes[row * vocab.length + id] ?? 0) << shift; });
    if (/^[\p{L}\p{N}]/u.test(token) || id === vocab.length - 2) kind |= WORD; // <unk> is a word more often than not
    return kind | (token === token.toUpperCase() || SPECIALS.includes(token) ? CASELESS : 0);
  });
}

// Weights by template, then by the rest of the key. Keys are Elias-Fano coded (`detokenizer/storage.py`).
function unpackWeights({ templates, keys, weights, step, weight_bytes: bytes }) {
  const entries = new Uint32Array(fromBase64(templates).buffer), data = fromBase64(keys), packed = fromBase64(weights).buffer;
  const values = bytes === 1 ? new Int8Array(packed) : new Int16Array(packed), tables = [];
  for (let entry = 0, start = 0, n = 0; entry < entries.length; entry += 6) {
    const [template, count, first, second, third, size] = entries.subarray(entry, entry + 6), quotient = Math.floor((first * second * third) / count);
    const bit = (at) => (data[start + (at >> 3)] >> (at & 7)) & 1, table = (tables[template] = new Map()), highs = [];
    let bits = 0, at = 0;
    while (2 ** (bits + 1) <= quotient) bits++;
    for (; highs.length < count; at++) if (bit(at)) highs.push(at - highs.length);
    for (const high of highs) {
      let number = high * 2 ** bits;
      for (let i = 0; i < bits; i++, at++) number += bit(at) * 2 ** i;
      const rest = Math.floor(number / third);
      table.set(Math.floor(rest / second) * 2 ** 32 + (rest % second) * 65536 + (number % third), values[n++] * step);
    }
    start += size;
  }
  return tables;
}
