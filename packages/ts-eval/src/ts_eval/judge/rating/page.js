"use strict";
const token = location.hash.slice(1);
const $ = (id) => document.getElementById(id);
let task = null, scores = {}, clicks = [], now = 0, busy = false;

async function call(path, body) {
  const options = { headers: { "X-Rating-Token": token, "Content-Type": "application/json" } };
  if (body !== undefined) { options.method = "POST"; options.body = JSON.stringify(body); }
  const reply = await fetch(path, options);
  if (!reply.ok) throw new Error((await reply.text()) || reply.status);
  return reply.json();
}

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  made.textContent = text;   // text, never markup
  made.append(...children);
  return made;
}

function show(next) {
  task = next; scores = { ...task.ratings }; clicks = []; now = 0;
  $("progress").value = task.done; $("progress").max = task.total;
  $("state").textContent = task.finished
    ? `All ${task.total} stories are rated. Thank you! You can close this page.`
    : `Story ${task.done + 1} of ${task.total}`;
  $("story").textContent = task.finished ? "" : task.story;
  $("categories").replaceChildren(...(task.finished ? [] : task.categories.map(category)));
  scrollTo(0, 0);
  draw();
}

function category({ name, question, anchors }, row) {
  const scale = element("div", "");
  scale.className = "scale";
  for (let n = 1; n <= 10; n++) {
    const button = element("button", n);
    button.setAttribute("aria-label", `${name} ${n}`);
    button.addEventListener("click", () => { now = row; rate(n); });
    scale.append(button);
  }
  const meanings = Object.entries(anchors).flatMap(([n, text]) => [element("dt", n), element("dd", text)]);
  return element("fieldset", "", element("legend", name), element("p", question), scale, element("dl", "", ...meanings));
}

function draw() {
  [...$("categories").children].forEach((field, row) => {
    field.classList.toggle("now", row === now);
    field.querySelectorAll("button").forEach((b, i) => b.setAttribute("aria-pressed", scores[task.categories[row].name] === i + 1));
  });
  $("next").disabled = task.finished || Object.keys(scores).length < task.categories.length;
  $("undo").disabled = clicks.length === 0;
  $("back").disabled = task.done === 0;
}

function rate(n) {
  clicks.push([now, { ...scores }]);
  scores[task.categories[now].name] = n;
  move(Math.min(now + 1, task.categories.length - 1));
}

function move(row) {
  now = row;
  draw();
  $("categories").children[now].scrollIntoView({ block: "nearest" });
}

function undo() {
  if (clicks.length === 0) return;
  [now, scores] = clicks.pop();
  draw();
}

async function send(path, body) {
  if (busy) return;
  busy = true;
  try { show(await call(path, body)); }
  catch (problem) { $("state").textContent = `Not saved: ${problem.message}`; }
  finally { busy = false; }
}

const actions = {
  Enter: () => { if (!$("next").disabled) send("rate", { id: task.id, ratings: scores }); },
  u: () => { if (!$("back").disabled) send("undo", {}); },
  Backspace: undo,
  ArrowDown: () => move(Math.min(now + 1, task.categories.length - 1)),
  ArrowUp: () => move(Math.max(now - 1, 0)),
};
$("next").addEventListener("click", actions.Enter);
$("back").addEventListener("click", actions.u);
$("undo").addEventListener("click", undo);

document.addEventListener("keydown", (event) => {
  if (!task || task.finished && event.key !== "u" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.tagName === "BUTTON") return;   // the browser clicks it
  if (/^[0-9]$/.test(event.key)) rate(event.key === "0" ? 10 : Number(event.key));
  else if (event.key in actions) actions[event.key]();
  else return;
  event.preventDefault();
});

send("next");
