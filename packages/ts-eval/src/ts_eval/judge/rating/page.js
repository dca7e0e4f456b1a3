"use strict";
const token = location.hash.slice(1);
let task = null, scores = {}, now = 0;

async function call(path, body) {
  const options = { headers: { "X-Rating-Token": token, "Content-Type": "application/json" } };
  if (body !== undefined) { options.method = "POST"; options.body = JSON.stringify(body); }
  const reply = await fetch(path, options);
  if (!reply.ok) throw new Error((await reply.text()) || reply.status);
  return reply.json();
}

function show(next) {
  task = next; scores = {}; now = 0;
  const state = document.getElementById("state");
  if (task.finished) {
    state.textContent = `All ${task.total} stories are rated. Thank you! You can close this page.`;
    document.getElementById("story").textContent = "";
    document.getElementById("categories").replaceChildren();
    return;
  }
  state.textContent = `Story ${task.done + 1} of ${task.total}`;
  document.getElementById("story").textContent = task.story;   // text, never markup
  draw();
}

function draw() {
  const rows = task.categories.map((name, row) => {
    const line = document.createElement("tr");
    if (row === now) line.className = "now";
    const label = document.createElement("td");
    label.textContent = name;
    const cell = document.createElement("td");
    for (let n = 1; n <= 10; n++) {
      const button = document.createElement("button");
      button.textContent = n;
      button.setAttribute("aria-label", `${name} ${n}`);
      button.setAttribute("aria-pressed", scores[name] === n);
      button.addEventListener("click", () => { now = row; rate(n); });
      cell.append(button);
    }
    line.append(label, cell);
    return line;
  });
  document.getElementById("categories").replaceChildren(...rows);
}

function rate(n) {
  scores[task.categories[now]] = n;
  now = Math.min(now + 1, task.categories.length - 1);
  draw();
}

let busy = false;
async function send(path, body) {
  if (busy) return;
  busy = true;
  try { show(await call(path, body)); }
  catch (problem) { document.getElementById("state").textContent = `Not saved: ${problem.message}`; }
  finally { busy = false; }
}

document.addEventListener("keydown", (event) => {
  if (!task || task.finished && event.key !== "u" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[0-9]$/.test(event.key)) rate(event.key === "0" ? 10 : Number(event.key));
  else if (event.key === "ArrowDown") { now = Math.min(now + 1, 5); draw(); }
  else if (event.key === "ArrowUp") { now = Math.max(now - 1, 0); draw(); }
  else if (event.key === "Enter" && Object.keys(scores).length === 6) send("rate", { id: task.id, ratings: scores });
  else if (event.key === "u") send("undo", {});
  else return;
  event.preventDefault();
});

send("next");
