// The plots of the status page and of drift: uPlot in the colours of the page, where it lives read again every few seconds.
"use strict";

(() => {
  const frame = document.querySelector("[data-source]");
  if (!frame || typeof uPlot === "undefined") return;
  const plots = [...frame.querySelectorAll(".plot")];
  const drawn = new Map();
  const HEIGHT = 176;
  const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
  const [first, last] = "dates" in frame.dataset ? [0, 10] : [11, 16];
  const time = (seconds) => new Date(seconds * 1e3).toISOString().slice(first, last);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function options(node) {
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const strokes = [colour("--accent"), colour("--present")];
    const names = node.dataset.names.split("|");
    const fine = node.dataset.columns.includes("seconds") || "fine" in node.dataset;
    return {
      width: node.clientWidth,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      cursor: { y: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, (high || 0) * 1.1)] } },
      axes: [{ ...axis, ...(first ? {} : { space: 90 }), values: (_, ticks) => ticks.map(time) }, { ...axis, size: 52, ...(fine ? {} : { incrs: WHOLE }) }],
      series: [
        { label: node.dataset.time, value: (_, s) => (s == null ? "–" : time(s)) },
        ...names.map((label, n) => ({
          label,
          stroke: strokes[n],
          width: 2,
          // the second line is dashed, so that colour isn't all that tells them apart
          dash: n ? [6, 4] : undefined,
          fill: n ? undefined : `${strokes[n]}22`,
          // of latencies there are only some, and a line needs two
          points: { show: fine, size: 5, fill: strokes[n] },
          value: (_, v) => (v == null ? "–" : Number.isInteger(v) ? v : v.toFixed(2)),
        })),
      ],
    };
  }

  async function refresh() {
    if (document.hidden) return;
    const answer = await fetch(frame.dataset.source, { credentials: "same-origin" });
    if (!answer.ok) return;
    const told = await answer.json();
    for (const node of plots) {
      const data = [told.start, ...node.dataset.columns.split(" ").map((name) => told[name])];
      const plot = drawn.get(node);
      if (plot) plot.setData(data);
      else drawn.set(node, new uPlot(options(node), data, node));
    }
  }

  addEventListener("resize", () => {
    for (const [node, plot] of drawn) plot.setSize({ width: node.clientWidth, height: HEIGHT });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of drawn.values()) plot.destroy();
    drawn.clear();
    refresh();
  });
  refresh();
  if (!("once" in frame.dataset)) setInterval(refresh, 5000);
})();
