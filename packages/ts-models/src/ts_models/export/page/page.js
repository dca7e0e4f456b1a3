"use strict";
// The page: unpacks the model, and writes a story token by token without blocking the window.

const model = JSON.parse($("model").textContent), { config } = model;
const words = new Words(model.tokenizer), tensors = unpackTensors(model.tensors, fromBase64($("weights").textContent).buffer);
const part = (selector) => document.querySelector(selector);
$("weights").remove();
let running = null; // the story that is being written

const nextTurn = () => new Promise((resolve) => {
  const channel = new MessageChannel();
  channel.port1.onmessage = resolve;
  channel.port2.postMessage(0);
});

// Writes a story; `show(tokens, texts, done)` is called now and then, and at the end. `run.stopped` ends it early.
async function tell(prompt, options, show = () => {}, run = {}) {
  const { ids, unknown } = words.encode(prompt), beginning = config.bos_id >= 0 ? [config.bos_id, ...ids] : ids;
  if (!beginning.length) throw new Error("Type a beginning: this model cannot start from nothing.");
  if (config.kind === "transformer" && beginning.length >= config.max_seq_len) {
    throw new Error(`This beginning has ${beginning.length} tokens; the model takes ${config.max_seq_len} with its story. Shorten it.`);
  }
  const steps = generate(makeNetwork(config, tensors), config, beginning, options), tokens = [], began = performance.now();
  const texts = () => words.continuation(beginning, tokens.map((token) => token.id));
  let turn = began, finish = "stopped", first = began;
  while (!run.stopped) {
    const { value, done } = steps.next();
    if (done) { finish = value; break; }
    if (!value) first = performance.now();
    else tokens.push(value);
    if (performance.now() - turn < 24) continue;
    show(tokens, texts().slice(0, -LOOK_AHEAD), false); // later words decide capitals and blanks of the last ones
    await nextTurn();
    turn = performance.now();
  }
  const rate = (1000 * tokens.length) / (performance.now() - first);
  show(tokens, texts(), true);
  const given = prompt.trimEnd(), text = texts().join("");
  return { ids: tokens.map((token) => token.id), text, full: text ? given + text : prompt, finish, unknown, rate, tokens };
}

function showTokens(tokens, texts) {
  const told = part(".told");
  texts.forEach((text, i) => {
    if (!told.children[i]) {
      const span = document.createElement("span"), { id, p, others } = tokens[i];
      span.className = "token " + odd(p);
      span.tabIndex = 0;
      span.tokens = [{ token: model.tokenizer.vocab[id], p, others: others.map(([other, chance]) => [model.tokenizer.vocab[other], chance]) }];
      told.append("", span); // the blank before a word stays outside its colour
    }
    const span = told.children[i], word = text.trimStart();
    span.previousSibling.data = text.slice(0, text.length - word.length);
    if (span.textContent !== word) span.textContent = word;
  });
}

function readOptions() {
  const options = { method: $("method").value, seed: $("seed").value === "" ? Math.floor(Math.random() * 1e6) : $("seed").value };
  for (const range of document.querySelectorAll("input[type=range]")) options[range.id] = Number(range.value);
  return { ...options, min_new_tokens: Math.min(options.min_new_tokens, options.max_new_tokens) };
}

async function write() {
  if (running) running.stopped = true;
  const run = (running = {}), options = readOptions(), panel = part(".panel"), status = part(".status");
  part(".given").textContent = $("prompt").value.trimEnd();
  part(".told").replaceChildren();
  status.className = "status";
  status.textContent = "Reading…";
  panel.classList.add("writing");
  $("stop").disabled = false;
  const show = (tokens, texts) => { if (running === run) { showTokens(tokens, texts); status.textContent = `${tokens.length} tokens`; } };
  let message = "", failed = false;
  try {
    const { tokens, rate, finish, unknown } = await tell($("prompt").value, options, show, run);
    const seeded = options.method === "sample" ? `, seed ${options.seed}` : "";
    const lacking = unknown.length ? ` Not in its vocabulary: ${unknown.join(", ")}.` : "";
    message = `${FINISH[finish] ?? "Stopped."} ${tokens.length} tokens, ${rate.toFixed(0)} per second${seeded}.${lacking}`;
  } catch (problem) {
    [message, failed] = [problem.message, true];
  }
  if (running !== run) return;
  running = null;
  panel.classList.remove("writing");
  $("stop").disabled = true;
  status.classList.toggle("error", failed);
  status.textContent = message;
}

function showSettings() {
  for (const range of document.querySelectorAll("input[type=range]")) range.parentElement.querySelector("output").textContent = range.value;
  for (const label of document.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== $("method").value;
  $("stories").classList.toggle("tinted", $("tint").checked);
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); write(); });
$("form").addEventListener("input", showSettings);
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
$("stop").addEventListener("click", () => { if (running) running.stopped = true; });
$("name").textContent = document.title = model.name;
part(".facts").textContent = model.facts.join(" · ");
$("cleaning").textContent = Object.keys(CLEANING).some((name) => words.cleaning.includes(name))
  ? "Curly quotes, dashes, ellipses and blanks are repaired as in the training stories; other damage is not." : "";
showSettings();
part(".status").textContent = "";
$("write").disabled = false;
