// The annotation of a report by keys: walks findings, presses the buttons of their forms, and takes words selected in the
// text. Every act is a form of the page, which works without this.
"use strict";

(() => {
  const frame = () => document.getElementById("annotating");
  if (!frame()) return;
  const keysOn = document.getElementById("keys-on");
  const said = document.getElementById("said");
  const items = () => [...frame().querySelectorAll(".judged")];
  const current = () => frame().querySelector(".judged[aria-current]");
  const marksOf = (item) => [...frame().querySelectorAll(`.mark[data-findings~="${item.dataset.finding}"]`)];

  function choose(item, { focus = true } = {}) {
    for (const other of items()) {
      other.removeAttribute("aria-current");
      if (other !== item) other.querySelector("details")?.removeAttribute("open");
    }
    for (const mark of frame().querySelectorAll(".mark.current")) mark.classList.remove("current");
    if (!item) return;
    item.setAttribute("aria-current", "true");
    const marks = marksOf(item);
    for (const mark of marks) mark.classList.add("current");
    if (!focus) return;
    item.querySelector("a.stop").focus({ preventScroll: true });
    marks[0]?.scrollIntoView({ block: "center" });
    item.scrollIntoView({ block: "nearest" });
  }

  function walk(by) {
    const all = items();
    if (!all.length) return;
    const at = all.indexOf(current());
    // the first key goes to what is marked as current already, so that nobody steps over it unseen
    const unseen = at >= 0 && !all[at].contains(document.activeElement) && by > 0;
    choose(all[unseen ? at : at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length]);
  }

  // --- what a button of the current finding does -----------------------------------------------------------------------
  let goOn = false;

  function press(selector) {
    const button = current()?.querySelector(selector);
    if (!button) return;
    goOn = true;
    button.click();
  }

  function relabel() {
    const details = current()?.querySelector("details");
    if (!details) return;
    details.open = true;
    details.querySelector("button").focus();
    current().scrollIntoView({ block: "nearest" });
  }

  const relabelled = () => current()?.querySelector("details[open]");

  // --- words selected in the text ------------------------------------------------------------------------------------------
  const characters = (text) => [...text].length; // offsets count characters, as those of findings do

  function offset(node, at) {
    const within = (node instanceof Element ? node : node.parentElement)?.closest("[data-start]");
    if (!within || !frame().contains(within)) return null;
    const before = document.createRange();
    before.selectNodeContents(within);
    before.setEnd(node, at);
    return Number(within.dataset.start) + characters(before.toString());
  }

  let taken = null;

  function take() {
    const selection = window.getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return;
    const range = selection.getRangeAt(0);
    const start = offset(range.startContainer, range.startOffset);
    const end = offset(range.endContainer, range.endOffset);
    if (start !== null && end !== null && end > start) taken = { start, end, words: range.toString() };
  }
  document.addEventListener("selectionchange", take);

  function add() {
    take(); // of a selection of this moment the event is still to come
    const details = document.getElementById("add");
    const form = details.querySelector("form");
    details.open = true;
    if (taken) {
      form.elements.words.value = taken.words.replace(/\s+/g, " ").trim();
      form.elements.start.value = taken.start;
      form.elements.end.value = taken.end;
      form.elements.concept.focus();
    } else {
      form.elements.words.focus();
    }
    details.scrollIntoView({ block: "nearest" });
  }
  // words that are typed are looked for; only those that were selected have a place
  document.addEventListener("input", (event) => {
    if (event.target.matches("#add [name=words], #add [name=nth]")) {
      event.target.form.elements.start.value = event.target.form.elements.end.value = "";
    }
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.id === "add" && event.target.open && taken) add();
  }, true);

  // --- keys ------------------------------------------------------------------------------------------------------------------
  const actions = {
    j: () => walk(1),
    k: () => walk(-1),
    y: () => press("button.confirm"),
    n: () => press("button.reject"),
    r: relabel,
    a: add,
    Y: () => document.getElementById("rest")?.click(),
    u: () => document.getElementById("undo")?.click(),
    d: () => document.getElementById("done")?.click(),
  };
  let busy = false;
  const waiting = []; // keys pressed while an act is on its way: they are meant for the page after it

  // Do what a key means now; whether it means anything.
  function act(key, within) {
    const open = relabelled();
    let action = actions[key];
    if (open && /^[0-9]$/.test(key)) action = () => open.querySelector(`[data-key="${key}"]`)?.click();
    if (open && key === "/") action = () => open.querySelector("input[name=concept]").focus();
    if (within && key === "ArrowDown") action = () => walk(1);
    if (within && key === "ArrowUp") action = () => walk(-1);
    if (action && busy) waiting.push(key);
    else action?.();
    return Boolean(action);
  }

  function resume() {
    busy = false;
    while (waiting.length && !busy) act(waiting.shift(), true);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && (relabelled() || typing)) {
      const details = event.target.closest("details[open]") ?? relabelled();
      details?.removeAttribute("open");
      if (current()) choose(current());
      return;
    }
    if (typing || (keysOn && !keysOn.checked)) return;
    // after a key that waits, a digit may be a choice of what that opens, and letters be meant for its field
    const last = busy ? waiting.at(-1) : undefined;
    if (last && /^[0-9]$/.test(event.key)) waiting.push(event.key);
    else if (last !== "a" && !act(event.key, Boolean(event.target.closest(".judging")))) return;
    event.preventDefault();
    event.stopPropagation(); // the keys of every page come after
  }, true);
  document.addEventListener("submit", (event) => {
    if (event.target.contains(document.getElementById("done"))) busy = true; // the page is left
  });

  document.addEventListener("click", (event) => {
    const mark = event.target.closest(".report-text .mark");
    const item = mark
      ? items().find((one) => mark.dataset.findings.split(" ").includes(one.dataset.finding))
      : event.target.closest(".judged");
    if (!item || item.hasAttribute("aria-current")) return;
    choose(item, { focus: Boolean(mark) });
    if (mark) event.preventDefault();
  });

  // --- the page after an act: the same finding, or the next that waits --------------------------------------------------------
  let was = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "annotating") return;
    // what is wrong with a form is told in the page
    if (event.detail.xhr.status === 422) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
    was = current()?.dataset.finding ?? null;
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "annotating") return;
    taken = null;
    window.getSelection().removeAllRanges();
    said.textContent = frame().querySelector("[data-said]")?.textContent ?? "";
    const all = items();
    const acted = frame().dataset.at || was;
    const at = all.findIndex((item) => item.dataset.finding === acted);
    const next = goOn ? all.slice(at + 1).find((item) => item.classList.contains("undecided")) : null;
    goOn = false;
    if (all.length) choose(next ?? all[Math.max(at, 0)]);
    resume();
  });
  const failed = document.getElementById("failed");
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(name, () => {
      failed.hidden = false;
      goOn = false;
      waiting.length = 0;
      resume();
    });
  }
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target.id !== "annotating") return;
    failed.hidden = true;
    busy = true;
  });

  choose(frame().querySelector(".judged.undecided") ?? items()[0] ?? null, { focus: false });
})();
