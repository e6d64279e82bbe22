// One chart: a line for each instance and figure. Made anew when the instances or the page's colours change, else only
// given new data.

const COLOURS = ["#2b7bba", "#d9822b", "#2f9e63", "#b04ac0", "#c23b3b", "#7a7a2a"];
const DASHES = [[], [6, 3], [2, 3]];
const HEIGHT = 180;

export class Chart {
  #root;
  #figures; // [[name, label], …]
  #drawn = ""; // what it was made for
  #plot = null;

  constructor(id, figures) {
    this.#root = document.getElementById(id);
    this.#figures = figures;
  }

  draw(window_, instances) {
    const data = [window_.times];
    for (const instance of instances) for (const [figure] of this.#figures) data.push(window_.series(instance, figure));
    const width = this.#root.clientWidth;
    if (!data[0].length || !width) return;
    const wanted = [getComputedStyle(this.#root).color, ...instances].join("\n");
    if (this.#drawn !== wanted) {
      this.#drawn = wanted;
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
      dash: DASHES[index],
      width: 1.5,
    })));
    const scales = { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } };
    return { width, height: HEIGHT, series: [{}, ...lines], axes: [axis, { ...axis, size: 60 }], scales };
  }
}
