// What pages do beyond links and forms: cards at marks, keys, plots' redrawing. Everything works without it, less conveniently.
"use strict";

(() => {
  // --- cards: what a table's row says of a finding, beside the words in the text -------------------------------------
  const card = document.createElement("div");
  card.className = "card";
  card.id = "card";
  card.hidden = true;
  card.setAttribute("role", "tooltip");
  document.body.append(card);
  let shown = null;

  const rowOf = (id) => document.querySelector(`tr[id="finding-${id}"]`);

  function section(row) {
    const part = document.createElement("section");
    const headings = [...row.closest("table").querySelectorAll("thead th")];
    const title = document.createElement("h3");
    const list = document.createElement("dl");
    [...row.cells].forEach((cell, n) => {
      if (n === 0) {
        title.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
      } else if (cell.textContent.trim()) {
        const term = document.createElement("dt");
        const told = document.createElement("dd");
        term.textContent = headings[n].textContent;
        told.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
        list.append(term, told);
      }
    });
    part.append(title, list);
    for (const node of part.querySelectorAll("[id]")) node.removeAttribute("id");
    return part;
  }

  function light(mark, on) {
    for (const id of mark.dataset.findings.split(" ")) {
      for (const part of document.querySelectorAll(`[data-of~="${id}"]`)) part.classList.toggle("lit", on);
    }
  }

  function show(mark) {
    if (shown === mark) return;
    hide();
    const rows = mark.dataset.findings.split(" ").map(rowOf).filter(Boolean);
    if (!rows.length) return;
    card.replaceChildren(...rows.map(section));
    card.hidden = false;
    const place = mark.getClientRects()[0];
    const width = card.offsetWidth;
    const left = Math.min(place.left, document.documentElement.clientWidth - width - 16);
    const below = place.bottom + 8 + card.offsetHeight < window.innerHeight || place.top < card.offsetHeight + 8;
    const top = below ? place.bottom + 8 : place.top - card.offsetHeight - 8;
    card.style.left = `${Math.max(8, left) + window.scrollX}px`;
    card.style.top = `${top + window.scrollY}px`;
    mark.setAttribute("aria-describedby", "card");
    light(mark, true);
    shown = mark;
  }

  function hide() {
    if (!shown) return;
    shown.removeAttribute("aria-describedby");
    light(shown, false);
    card.hidden = true;
    shown = null;
  }

  const markAt = (node) => (node instanceof Element ? node.closest(".mark[data-findings]") : null);
  document.addEventListener("mouseover", (event) => {
    const mark = markAt(event.target);
    if (mark) show(mark);
    else if (!card.contains(event.target)) hide();
  });
  document.addEventListener("focusin", (event) => {
    const mark = markAt(event.target);
    if (mark) show(mark);
    else hide();
  });

  // --- keys: single letters, which their list in the footer turns off (WCAG 2.1.4) -----------------------------------
  const keysOn = document.getElementById("keys-on");
  if (keysOn) {
    keysOn.checked = localStorage.getItem("keys") !== "off";
    keysOn.addEventListener("change", () => localStorage.setItem("keys", keysOn.checked ? "on" : "off"));
  }

  function step(selector, by) {
    const all = [...document.querySelectorAll(selector)].filter((node) => node.offsetParent);
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length;
    all[next].focus();
    all[next].scrollIntoView({ block: "center" });
    const mark = markAt(all[next]);
    if (mark) show(mark);
  }

  const stops = ".report-text .mark:not(.continued), a.stop";
  const actions = {
    "/": () => document.getElementById("find")?.focus(),
    "?": () => {
      const keys = document.getElementById("keys");
      keys.open = !keys.open;
      keys.querySelector("summary").focus();
      keys.scrollIntoView({ block: "end" });
    },
    j: () => step(stops, 1),
    k: () => step(stops, -1),
    c: () => step(".report-text .mark.critical:not(.continued), tr.critical a.stop", 1),
    "]": () => step(".sections a", 1),
    "[": () => step(".sections a", -1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      hide();
      return;
    }
    const typing = event.target.matches("input, select, textarea, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || (keysOn && !keysOn.checked)) return;
    const link = /^[1-9]$/.test(event.key) ? document.querySelector(`nav [data-key="${event.key}"]`) : null;
    if (link) link.click();
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  });

  // --- what refreshes itself does so only where it is seen, and while nothing in it is being used ---------------------
  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.detail.elt;
    if (document.hidden && element.matches("[data-live]")) event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", hide);
})();
