"use strict";
// Tokens of a story on a page: how odd each was, and on hover what was likely in its place.

const $ = (id) => document.getElementById(id);
const FINISH = {
  eos: "The end.", length: "Stopped at the longest length.", context: "The model's context is full.", stop: "Stopped at a stop text.",
};
const percent = (p) => (p >= 0.0995 ? (100 * p).toFixed(0) : (100 * p).toFixed(1)) + " %";

function odd(p) {
  if (p === null || p >= 0.4) return "";
  return p >= 0.2 ? "odd-1" : p >= 0.08 ? "odd-2" : p >= 0.02 ? "odd-3" : "odd-4";
}

function showTip(span) {
  const tip = $("tip");
  tip.replaceChildren();
  for (const token of span.tokens) {
    const title = document.createElement("b");
    title.textContent = token.token;
    tip.append(title, token.p === null ? "" : `  ${percent(token.p)}`);
    for (const [word, p] of token.others) {
      const row = document.createElement("div"), name = document.createElement("span");
      const meter = document.createElement("meter"), number = document.createElement("span");
      row.className = word === token.token ? "bar own" : "bar";
      name.textContent = word; meter.max = token.others[0][1]; meter.value = p; number.textContent = percent(p);
      row.append(name, meter, number);
      tip.append(row);
    }
  }
  tip.hidden = false;
  const place = span.getClientRects()[0], width = document.documentElement.clientWidth;
  tip.style.left = Math.max(8, Math.min(place.left, width - tip.offsetWidth - 8)) + window.scrollX + "px";
  const below = place.bottom + 6 + tip.offsetHeight < window.innerHeight;
  tip.style.top = (below ? place.bottom + 6 : place.top - tip.offsetHeight - 6) + window.scrollY + "px";
}

const tokenOf = (event) => event.target.closest && event.target.closest(".token");
for (const name of ["mouseover", "focusin"]) {
  document.addEventListener(name, (event) => {
    const span = tokenOf(event);
    if (span && span.tokens.length) showTip(span); else $("tip").hidden = true;
  });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") $("tip").hidden = true; });
window.addEventListener("resize", () => { $("tip").hidden = true; });
