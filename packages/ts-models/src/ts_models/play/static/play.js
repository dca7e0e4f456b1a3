"use strict";
const EXAMPLES = [
  "Once upon a time", "One day, a little girl named Lily", "Jack wanted to read a book, so he went to",
  "Tom has one brother called Peter. His mother has two children: Peter and",
];
const RANGES = ["temperature", "top_p", "num_beams", "max_new_tokens", "repetition_penalty"];
let models = [], panels = [], running = [];

function makePanel(index) {
  const root = $("panel").content.cloneNode(true).firstElementChild;
  const part = (name) => root.querySelector("." + name);
  const panel = { root, select: part("model"), facts: part("facts"), given: part("given"), told: part("told"), status: part("status") };
  for (const model of models) panel.select.add(new Option(model.name, model.name));
  panel.select.selectedIndex = Math.min(index, models.length - 1);
  const show = () => {
    const model = models[panel.select.selectedIndex];
    const facts = [model.kind, (model.parameters / 1e6).toFixed(1) + " M parameters"];
    if (model.context) facts.push(model.context + " tokens of context");
    if (model.stories) facts.push("trained on " + model.stories.toLocaleString("en") + " stories");
    panel.facts.textContent = facts.join(" · ");
  };
  panel.select.addEventListener("change", () => { show(); showAsked(); });
  show();
  return panel;
}

function layOut() {
  stop();
  const two = $("compare").checked;
  while (panels.length < (two ? 2 : 1)) panels.push(makePanel(panels.length));
  $("stories").replaceChildren(...shown().map((panel) => panel.root));
  $("stories").classList.toggle("two", two);
  showAsked();
}

const shown = () => panels.slice(0, $("compare").checked ? 2 : 1);
const modelOf = (panel) => models[panel.select.selectedIndex];

// What can be asked of the models on the page; of a model without prompts, nothing.
function showAsked() {
  const known = [...new Set(shown().flatMap((panel) => modelOf(panel).features ?? []))];
  const checked = new Set(features());
  $("asked").hidden = !known.length;
  $("features").replaceChildren($("features").firstElementChild, ...known.map((name) => {
    const label = document.createElement("label"), box = document.createElement("input");
    label.className = "check"; box.type = "checkbox"; box.value = name; box.checked = checked.has(name);
    label.append(box, " " + name);
    return label;
  }));
}

const features = () => [...document.querySelectorAll("#features input:checked")].map((box) => box.value);

function showSettings() {
  for (const name of RANGES) $(name + "-shown").textContent = $(name).value;
  const method = $("method").value;
  for (const label of document.querySelectorAll("[data-for]")) label.hidden = !label.dataset.for.split(" ").includes(method);
  $("stories").classList.toggle("tinted", $("tint").checked);
}

function query(panel, seed) {
  const method = $("method").value;
  const values = new URLSearchParams({ model: panel.select.value, prompt: $("prompt").value, method });
  const known = modelOf(panel).features;
  if (known) { values.set("words", $("words").value); values.set("features", features().filter((name) => known.includes(name))); }
  for (const name of RANGES) if (!$(name).closest("label").hidden) values.set(name, $(name).value);
  if (!$("seed").closest("label").hidden) values.set("seed", seed);
  return "api/stream?" + values;
}

function append(panel, text, tokens) {
  if (!text) return;
  const blank = text.length - text.trimStart().length;
  panel.told.append(text.slice(0, blank));
  const span = document.createElement("span");
  span.className = "token " + odd(tokens.length ? Math.min(...tokens.map((token) => token.p ?? 1)) : null);
  span.textContent = text.slice(blank);
  span.tokens = tokens;
  if (tokens.length) span.tabIndex = 0;
  panel.told.append(span);
}

// Text comes some tokens later than its ids: give each piece the token it spells; what is not spelled stays pending.
function align(panel, text, pending) {
  while (text && pending.length) {
    const blank = text.length - text.trimStart().length, word = pending[0].token;
    if (!text.slice(blank).toLowerCase().startsWith(word.toLowerCase())) break;
    append(panel, text.slice(0, blank + word.length), [pending[0]]);
    text = text.slice(blank + word.length);
    pending = pending.slice(1);
  }
  if (text) { append(panel, text, pending); pending = []; }
  return pending;
}

function write(panel, seed) {
  panel.given.textContent = $("prompt").value.trimEnd();
  panel.told.replaceChildren();
  panel.status.className = "status";
  panel.status.textContent = "Reading…";
  panel.root.classList.add("writing");
  let count = 0, pending = [], unknown = [];
  let first = 0; // when the first token came: what is loaded before it is no speed
  const source = new EventSource(query(panel, seed));
  const end = (words, failed = false) => {
    source.close();
    running = running.filter((one) => one !== run);
    panel.root.classList.remove("writing");
    panel.status.classList.toggle("error", failed);
    panel.status.textContent = words;
    $("stop").disabled = running.length === 0;
  };
  const facts = () => {
    const rate = ((count - 1) / Math.max(performance.now() - first, 1)) * 1000;
    const speed = count > 1 ? `${rate.toFixed(0)} per second` : "…";
    const lacking = unknown.length ? ` Not in its vocabulary: ${unknown.join(", ")}.` : "";
    const seeded = $("seed").closest("label").hidden ? "" : `, seed ${seed}`;
    return `${count} token${count === 1 ? "" : "s"}, ${speed}${seeded}.${lacking}`;
  };
  const run = { stop: () => end("Stopped. " + facts()) };
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.error) return end(event.error, true);
    if (event.unknown) { unknown = event.unknown; return; }
    if (event.token !== undefined) { count += 1; first ||= performance.now(); pending.push(event); }
    if (event.text) pending = align(panel, event.text, pending);
    if (event.finish) return end(FINISH[event.finish] + " " + facts());
    panel.status.textContent = facts();
  };
  source.onerror = () => end("The server does not answer, or refused these settings.", true);
  running.push(run);
}

function stop() { for (const run of [...running]) run.stop(); }

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  stop();
  const seed = $("seed").value === "" ? Math.floor(Math.random() * 1e6) : $("seed").value;
  for (const panel of shown()) write(panel, seed);
  $("stop").disabled = false;
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
$("stop").addEventListener("click", stop);
$("compare").addEventListener("change", layOut);
$("form").addEventListener("input", showSettings);
for (const text of EXAMPLES) {
  const chip = document.createElement("button");
  chip.type = "button"; chip.textContent = text;
  chip.addEventListener("click", () => { $("prompt").value = text; });
  $("examples").append(chip);
}
fetch("api/models").then((reply) => reply.json()).then((found) => { models = found; layOut(); showSettings(); });
