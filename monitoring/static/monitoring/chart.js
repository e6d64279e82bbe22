// One chart: a line for each instance and figure. Made anew when the instances change, else only given new data.
//
// A colour is an instance, a kind of line is a figure, in the legend as in the chart. Times are those of the zone that
// the page names, whatever the browser's own is.

const COLOURS = ["#2b7bba", "#d9822b", "#2f9e63", "#b04ac0", "#c23b3b", "#7a7a2a"];
const LINES = [{ dash: [], border: "solid" }, { dash: [8, 4], border: "dashed" }, { dash: [2, 3], border: "dotted" }];
const HEIGHT = 180;
const LEAST = 60; // seconds that are shown at least

export class Chart {
  #root;
  #figures; // [[name, label], …]
  #clock;
  #instances = "";
  #plot = null;

  constructor(id, figures, zone) {
    this.#root = document.getElementById(id);
    this.#figures = figures;
    this.#clock = clockOf(zone);
  }

  draw(window_, instances) {
    const data = [window_.times];
    for (const instance of instances) for (const [figure] of this.#figures) data.push(window_.series(instance, figure));
    const width = this.#root.clientWidth;
    if (!data[0].length || !width) return;
    if (this.#instances !== instances.join("\n")) {
      this.#instances = instances.join("\n");
      this.#plot?.destroy();
      this.#plot = new window.uPlot(this.#options(instances, width), data, this.#root);
      return;
    }
    if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    this.#plot.setData(data);
  }

  #options(instances, width) {
    const text = getComputedStyle(this.#root).color;
    const axis = { stroke: text, grid: { stroke: `color-mix(in srgb, ${text} 12%, transparent)` } };
    const lines = instances.flatMap((instance, number) => this.#figures.map(([, label], index) => ({
      label: label ? `${instance} ${label}` : instance,
      stroke: COLOURS[number % COLOURS.length],
      dash: LINES[index].dash,
      width: 1.5,
    })));
    const border = (_, line) => LINES[(line - 1) % this.#figures.length].border;
    return {
      width,
      height: HEIGHT,
      legend: { markers: { width: 2, dash: border } },
      series: [{ label: "Time", value: (_, at) => (at == null ? "–" : this.#clock(at)) }, ...lines],
      axes: [{ ...axis, values: (_, splits) => splits.map(this.#clock) }, { ...axis, size: 60 }],
      scales: {
        x: { range: (_, first, last) => [Math.min(first, last - LEAST), last] },
        y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] },
      },
    };
  }
}

function clockOf(zone) {
  const shape = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const format = new Intl.DateTimeFormat("en-GB", { ...shape, timeZone: zone });
  return (at) => format.format(at * 1000);
}
