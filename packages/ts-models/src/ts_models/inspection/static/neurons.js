
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const word = id => data.vocabulary[id];
const none = data.ids === "Uint16Array" ? 0xffff : 0xffffffff;
const form = one("form"), cards = one(".cards"), more = document.getElementById("more");

const neurons = data.layers.flatMap((layer, number) => {
  const ids = new globalThis[data.ids](bytes(layer.ids)), values = new Int8Array(bytes(layer.values));
  return layer.neurons.map((neuron, i) => {
    const size = layer.activations[i].length, width = ids.length / layer.neurons.length / size;
    const passages = layer.activations[i].map((activation, rank) => {
      const at = (i * size + rank) * width;
      return { activation, story: layer.stories[i][rank], ids: ids.subarray(at, at + width), values: values.subarray(at, at + width) };
    }).filter(passage => passage.activation);
    const peak = Math.abs(passages[0].activation);
    const effects = [layer.raises[i] || [], layer.lowers[i] || []], [raises, lowers] = passages[0].activation < 0 ? effects.reverse() : effects;
    return { layer: number, neuron, mean: layer.mean[i], peak, passages, raises, lowers };
  });
});
const orders = {
  selective: (a, b) => b.peak / b.mean - a.peak / a.mean,
  strong: (a, b) => b.peak - a.peak,
  number: (a, b) => a.layer - b.layer || a.neuron - b.neuron,
};
let chosen = [], shown = 0;

function choose() {
  const layer = form.layer.value, text = form.word.value.trim().toLowerCase();
  const id = text ? data.vocabulary.findIndex(known => known.toLowerCase() === text) : -1;
  const fits = neuron => !text || neuron.raises.includes(id) || neuron.passages.some(passage => passage.ids[data.before] === id);
  chosen = neurons.filter(neuron => (layer === "" || neuron.layer === +layer) && fits(neuron)).sort(orders[form.order.value]);
  const sizes = data.layers.filter((_, number) => layer === "" || number === +layer), all = sizes.reduce((sum, part) => sum + part.size, 0);
  const silent = all - sizes.reduce((sum, part) => sum + part.neurons.length, 0);
  document.getElementById("count").textContent = text && id < 0 ? `The vocabulary lacks “${text}”.`
    : `${chosen.length.toLocaleString("en")} of ${all.toLocaleString("en")} neurons` + (silent ? `; ${silent.toLocaleString("en")} are hardly ever active.` : ".");
  cards.replaceChildren();
  shown = 0;
  show();
}

function show() {
  for (const neuron of chosen.slice(shown, shown + 20)) cards.append(card(neuron));
  shown += 20;
  more.hidden = shown >= chosen.length;
}

function card(neuron) {
  const place = make("div", "", { class: "card" });
  place.append(make("h3", `Layer ${neuron.layer}, neuron ${neuron.neuron}`),
    make("p", `peak ${neuron.peak.toFixed(2)}, ${(neuron.peak / neuron.mean).toFixed(0)} × its mean`, { class: "facts" }));
  if (neuron.raises.length) place.append(make("p", `▲ ${neuron.raises.map(word).join(", ")}`, { class: "words" }),
    make("p", `▼ ${neuron.lowers.map(word).join(", ")}`, { class: "words" }));
  for (const passage of neuron.passages) {
    const text = make("p", "", { class: "text", title: `story ${passage.story}, activation ${passage.activation}` });
    passage.ids.forEach((id, i) => {
      if (id === none) return;
      const span = make("span", word(id));
      shade(span, Math.abs(passage.values[i]) / 127, passage.values[i] < 0 ? "cool" : "warm");
      if (i === data.before) span.classList.add("on");
      text.append(span, " ");
    });
    place.append(text);
  }
  return place;
}

document.getElementById("model").textContent = data.model;
form.layer.append(make("option", "all", { value: "" }), ...data.layers.map((_, number) => make("option", number, { value: number })));
form.addEventListener("input", choose);
form.addEventListener("submit", event => event.preventDefault());
more.addEventListener("click", show);
choose();
