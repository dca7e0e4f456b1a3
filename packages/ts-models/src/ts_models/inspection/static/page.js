"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const percent = p => p >= 0.1 ? `${Math.round(100 * p)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : "< 0.1 %";

function make(kind, text = "", attributes = {}) {
  const element = document.createElement(kind);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function shade(element, value, kind = "warm") {
  element.classList.remove("warm", "cool");
  element.classList.add(kind);
  element.style.setProperty("--a", (0.8 * Math.max(0, Math.min(1, value))).toFixed(3));
}

function bars(place, title, pairs, show = percent) {
  place.replaceChildren(make("div", title));
  for (const [word, p] of pairs) {
    const row = make("div", "", { class: "bar" }), bar = make("i");
    bar.style.width = `${Math.max(1, 100 * p)}%`;
    row.append(make("span", word), bar, make("span", show(p)));
    place.append(row);
  }
}

