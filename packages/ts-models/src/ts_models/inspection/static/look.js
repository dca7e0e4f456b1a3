const words = data.words, time = words.length;

// Words in a row. `pick(i)` is called for the word that is pointed at, focused or tapped.
function flow(place, pick) {
  const spans = words.map((word, i) => {
    const span = make("span", word, pick ? { tabindex: "0" } : {});
    if (i >= data.given) span.classList.add("written");
    if (pick) for (const event of ["pointerenter", "focus", "click"]) span.addEventListener(event, () => {
      for (const other of spans) other.classList.toggle("on", other === span);
      pick(i);
    });
    place.append(span, " ");
    return span;
  });
  return spans;
}

function hide(section) { document.getElementById(section).remove(); }

function surprise() {
  const section = document.getElementById("surprise"), detail = one(".detail", section);
  const spans = flow(one(".text", section), i => {
    if (i === 0) { detail.textContent = "The beginning of the story: nothing stands before it."; return; }
    const found = data.surprise[i - 1];
    bars(detail, `“${words[i]}” had ${percent(found.p)} (${found.bits.toFixed(1)} bits). Likeliest here:`, found.likely);
  });
  data.surprise.forEach((item, i) => shade(spans[i + 1], item.bits / 12));
  const total = data.surprise.reduce((sum, item) => sum + item.bits, 0);
  detail.textContent = `${time - 1} tokens, ${(total / (time - 1)).toFixed(2)} bits each.`;
}

function attention() {
  if (!data.attention.length) { hide("attention"); return; }
  const section = document.getElementById("attention"), grid = one(".grid", section);
  const layers = data.attention.map(text => Uint8Array.from(atob(text), c => c.charCodeAt(0)));
  const heads = layers[0].length / (time * time);
  const weights = head => layers[head.layer].subarray(head.head * time * time, (head.head + 1) * time * time);
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--warm").trim().split(" ").map(Number);
  let chosen = null, word = time - 1;

  function draw(canvas, values) {
    canvas.width = canvas.height = time;
    const context = canvas.getContext("2d"), image = context.createImageData(time, time), [r, g, b] = ink();
    values.forEach((value, i) => image.data.set([r, g, b, Math.round(255 * Math.sqrt(value / 255))], 4 * i));
    context.putImageData(image, 0, 0);
  }

  const detail = one(".chosen .detail", section), canvas = one(".chosen canvas", section);
  function read(i) {
    word = i;
    const row = weights(chosen).subarray(i * time, (i + 1) * time), most = Math.max(1, ...row);
    spans.forEach((span, j) => { shade(span, row[j] / most); span.classList.toggle("on", j === i); });
    const best = [...row].map((value, j) => [value, j]).filter(pair => pair[0] > 2).sort((a, b) => b[0] - a[0]).slice(0, 5);
    bars(detail, `“${words[i]}” reads`, best.map(([value, j]) => [words[j], value / 255]));
  }
  const spans = flow(one(".chosen .text", section), read);
  function choose(head) {
    chosen = head;
    all("button", grid).forEach((button, i) => button.setAttribute("aria-pressed", data.heads[i] === head));
    one("h3", section).textContent = `Layer ${head.layer}, head ${head.head}: ${head.label}`;
    one(".facts", section).textContent = `reads ${head.distance.toFixed(1)} tokens back on average; previous token ${percent(head.previous)}, `
      + `first ${percent(head.first)}, itself ${percent(head.itself)}, same word ${percent(head.same)}`;
    draw(canvas, weights(head));
    read(word);
  }
  grid.style.gridTemplateColumns = `repeat(${heads}, minmax(4.6rem, 7rem))`;
  for (const head of data.heads) {
    const button = make("button", "", { type: "button", "aria-pressed": "false" }), picture = make("canvas", "", { "aria-hidden": "true" });
    draw(picture, weights(head));
    button.append(picture, `${head.layer}.${head.head} ${head.label}`);
    button.addEventListener("click", () => choose(head));
    grid.append(button);
  }
  canvas.addEventListener("pointermove", event => {
    const box = canvas.getBoundingClientRect();
    read(Math.max(0, Math.min(time - 1, Math.floor((event.clientY - box.top) / box.height * time))));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    all("button canvas", grid).forEach((picture, i) => draw(picture, weights(data.heads[i])));
    draw(canvas, weights(chosen));
  });

  const columns = { distance: "distance", previous: "previous", itself: "itself", first: "first", same: "same", semantic: "related", entropy: "entropy" };
  const table = one("table", section), top = table.createTHead().insertRow(), body = table.createTBody();
  for (const title of ["head", ...Object.values(columns), "reads"]) top.append(make("th", title));
  for (const head of data.heads) {
    const row = body.insertRow();
    row.append(make("th", `${head.layer}.${head.head}`));
    for (const name of Object.keys(columns)) row.append(make("td", head[name].toFixed(2)));
    row.append(make("td", head.label));
    row.addEventListener("click", () => choose(head));
  }
  choose(data.heads.find(head => head.label !== "mixed" && head.label !== "first token") || data.heads[0]);
}

function lens() {
  if (!data.lens.length) { hide("lens"); return; }
  const section = document.getElementById("lens"), table = one("table", section), detail = one(".detail", section);
  const top = table.createTHead().insertRow(), body = table.createTBody();
  top.append(make("th", "after"));
  for (const word of words) top.append(make("th", word));
  data.lens.forEach((row, layer) => {
    const line = body.insertRow();
    line.append(make("th", `layer ${layer}`));
    row.forEach((cell, i) => {
      const [word, p] = cell.top[0], td = make("td", word, { tabindex: "0" });
      shade(td, p);
      td.classList.toggle("hit", words[i + 1] === word);
      const show = () => bars(detail, `After “${words[i]}”, layer ${layer} would say`
        + (cell.next === null ? "" : ` (the text goes on with “${words[i + 1]}”: ${percent(cell.next)})`), cell.top);
      for (const event of ["pointerenter", "focus", "click"]) td.addEventListener(event, show);
      line.append(td);
    });
  });
}

function neurons() {
  if (!data.neurons.length) { hide("neurons"); return; }
  const cards = one("#neurons .cards");
  for (const neuron of data.neurons) {
    const card = make("div", "", { class: "card" }), text = make("p", "", { class: "text" });
    const writes = neuron.promotes.length ? `makes likelier: ${neuron.promotes.join(", ")}` : "feeds the next layer";
    card.append(make("h3", `Layer ${neuron.layer}, neuron ${neuron.neuron}`), make("p", `peak ${neuron.peak.toFixed(2)}; ${writes}`, { class: "facts" }), text);
    const most = Math.max(...neuron.values.map(Math.abs), 1e-9);
    flow(text, null).forEach((span, i) => {
      shade(span, Math.abs(neuron.values[i]) / most, neuron.values[i] < 0 ? "cool" : "warm");
      span.title = neuron.values[i].toFixed(3);
    });
    cards.append(card);
  }
}

function map() {
  if (!data.map.points.length) { hide("map"); return; }
  const svg = one("#map svg"), detail = one("#map .detail"), space = "http://www.w3.org/2000/svg";
  const size = matchMedia("(max-width: 45rem)").matches ? 24 : 14, taken = [];
  const span = axis => {
    const values = data.map.points.map(point => point[axis]), least = Math.min(...values), most = Math.max(...values);
    return value => (value - least) / Math.max(most - least, 1e-9);
  };
  const across = span("x"), up = span("y");
  svg.style.setProperty("--size", `${size}px`);
  const places = data.map.points.map(point => ({ ...point, x: 20 + 690 * across(point.x), y: 24 + 440 * (1 - up(point.y)) }));
  for (const point of places) {
    const group = document.createElementNS(space, "g"), dot = document.createElementNS(space, "circle"), text = document.createElementNS(space, "text");
    const { x, y } = point, width = 0.52 * size * point.word.length;
    const free = [x + 8, x - 8 - width].find(start => start > 0 && start + width < 798 && !taken.some(box =>
      Math.abs(box.y - y) < size && start < box.end && start + width > box.start)
      && !places.some(other => other !== point && Math.abs(other.y - y) < 0.6 * size && other.x > start - 3 && other.x < start + width + 3));
    if (free !== undefined) taken.push({ y, start: free, end: free + width });
    else group.classList.add("crowded");
    for (const [name, value] of [["cx", x], ["cy", y], ["r", size / 3.5]]) dot.setAttribute(name, value);
    const before = free !== undefined && free < x;
    text.setAttribute("x", before ? x - 8 : x + 8);
    text.setAttribute("text-anchor", before ? "end" : "start");
    text.setAttribute("y", y + size / 3);
    text.textContent = point.word;
    if (!point.own) group.classList.add("near");
    const near = data.map.near[point.word], close = new Set(near.map(([word]) => word));
    const show = () => {
      all("g", svg).forEach((other, i) => {
        other.classList.toggle("on", other === group);
        other.classList.toggle("close", close.has(places[i].word));
      });
      bars(detail, `Nearest to “${point.word}” by cosine`, near, value => value.toFixed(2));
    };
    group.setAttribute("tabindex", "0");
    for (const event of ["pointerenter", "focus", "click"]) group.addEventListener(event, show);
    group.append(dot, text);
    svg.append(group);
  }
  detail.textContent = `The plane holds ${percent(data.map.share)} of how these words differ; a word without room for its name shows it when pointed at.`;
}

document.getElementById("model").textContent = data.model + (data.unknown.length ? `. Read as <unk>: ${data.unknown.join(", ")}` : "");
surprise(); attention(); lens(); neurons(); map();
