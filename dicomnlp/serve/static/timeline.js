// Sizes of lesions over time: uPlot in the colours of the page.
"use strict";

(() => {
  const plots = [...document.querySelectorAll(".plot[data-times]")];
  if (!plots.length || typeof uPlot === "undefined") return;
  const drawn = new Map();
  const HEIGHT = 176;
  const DAY = 86400;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const numbers = (text) => text.split(" ").map(Number);
  const day = (seconds) => (seconds == null ? "–" : new Date(seconds * 1e3).toISOString().slice(0, 10));

  function draw(node) {
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const stroke = colour("--accent");
    const options = {
      width: node.clientWidth,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      cursor: { y: false },
      scales: {
        // room beside the first and the last, and from nothing upwards: growth isn't to look larger than it is
        x: { range: (_, low, high) => [low - Math.max(DAY, (high - low) * 0.05), high + Math.max(DAY, (high - low) * 0.05)] },
        y: { range: (_, low, high) => [0, Math.max(1, (high || 0) * 1.15)] },
      },
      axes: [
        { ...axis, space: 80, values: (_, ticks) => ticks.map((s) => day(s).slice(0, 7)) },
        { ...axis, size: 56, values: (_, ticks) => ticks.map((v) => `${v} mm`) },
      ],
      series: [
        { label: node.dataset.time, value: (_, s) => day(s) },
        { label: node.dataset.name, stroke, width: 2, points: { show: true, size: 8, fill: stroke }, value: (_, v) => (v == null ? "–" : `${v} mm`) },
      ],
    };
    drawn.set(node, new uPlot(options, [numbers(node.dataset.times), numbers(node.dataset.sizes)], node));
  }

  addEventListener("resize", () => {
    for (const [node, plot] of drawn) plot.setSize({ width: node.clientWidth, height: HEIGHT });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of drawn.values()) plot.destroy();
    drawn.clear();
    plots.forEach(draw);
  });
  plots.forEach(draw);
})();
