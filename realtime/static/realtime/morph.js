// Makes one element's content that of another, and keeps every node that is in both: so focus, selected text, ticked
// boxes, typed input, open <details> and scrolled tables stay as they are.
//
// Children with a `data-key` (or an id) are the same where their keys are; others where they are the same tag, in order.
// Rows that change places do so around the row that somebody is at, which is never moved. A row that is gone stays while
// it is ticked or has the focus or the selection, marked `data-gone`: nobody loses a line that is just being copied.

// What a whole page keeps (`morph`), and what one row of live data does (`morphRow`): there a tick is the server's again
// once it renders another one, and nothing outlives its row. `owned`: attributes that belong to the person at the page.
const PAGE = { owned: new Set(["checked", "open"]), keepsGone: true };
const ROW = { owned: new Set(["open"]), keepsGone: false };
const HEAVY = 1_000_000; // outweighs any number of rows

/** Make the content of `live` that of `fresh`, whose nodes are used up. */
export function morph(live, fresh) {
  attending((attended) => children(live, fresh, { ...PAGE, attended }));
}

/** Make one element another with all that is in it. Returns the one that is in the page then. */
export function morphRow(live, fresh) {
  if (live.nodeName !== fresh.nodeName) {
    live.replaceWith(fresh);
    return fresh;
  }
  attending((attended) => update(live, fresh, { ...ROW, attended }));
  return live;
}

/** Do it with the nodes that somebody is at, and put a selection back that it has moved. */
function attending(change) {
  const selection = document.getSelection();
  const ends = selection.isCollapsed ? [] : boundaries(selection);
  change([document.activeElement, ...ends.map(([node]) => node)].filter(Boolean));
  const now = boundaries(selection);
  const moved = ends.some(([node, offset], end) => node !== now[end][0] || offset !== now[end][1]);
  if (!moved || !ends.every(([node]) => node.isConnected)) return;
  selection.setBaseAndExtent(...ends.flatMap(([node, offset]) => [node, Math.min(offset, lengthOf(node))]));
}

const boundaries = (selection) => [
  [selection.anchorNode, selection.anchorOffset],
  [selection.focusNode, selection.focusOffset],
];
const lengthOf = (node) => (node.nodeType === Node.TEXT_NODE ? node.length : node.childNodes.length);

function children(live, fresh, keeping) {
  const old = [...live.childNodes];
  const known = named(old);
  const wanted = [...named(fresh.childNodes)].map(([name, node]) => {
    const same = known.get(name);
    if (!same) return node;
    known.delete(name);
    update(same, node, keeping);
    return same;
  });
  const isAttended = (node) => keeping.attended.some((one) => node.contains(one));
  for (const node of known.values()) {
    if (!keeping.keepsGone || !keyOf(node) || !(isAttended(node) || node.querySelector("input:checked"))) node.remove();
    else { // it stays behind the one that it stood behind
      node.dataset.gone = "";
      const before = old.slice(0, old.indexOf(node)).reverse().find((other) => wanted.includes(other));
      wanted.splice(wanted.indexOf(before) + 1, 0, node);
    }
  }
  const staying = unmoved(wanted, new Map(old.map((node, at) => [node, at])), isAttended);
  wanted.reduceRight((next, node) => {
    if (!staying.has(node) && (node.parentNode !== live || node.nextSibling !== next)) live.insertBefore(node, next);
    return node;
  }, null);
}

function update(live, fresh, keeping) {
  if (live.nodeType !== Node.ELEMENT_NODE) {
    if (live.data !== fresh.data) live.data = fresh.data;
    return;
  }
  const { owned } = keeping;
  for (const { name } of [...live.attributes]) {
    if (!fresh.hasAttribute(name) && !owned.has(name)) set(live, name, null);
  }
  for (const { name, value } of fresh.attributes) {
    if (live.getAttribute(name) !== value && !owned.has(name)) set(live, name, value);
  }
  children(live, fresh, keeping);
}

function set(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
  if (name === "checked") element.checked = value !== null; // the attribute alone moves no box that was clicked
}

const keyOf = (node) => node.dataset?.key || node.id || "";

/** Nodes by what makes one the same as another: its tag with its key, or with how many of that tag came before. */
function named(nodes) {
  const found = new Map();
  const count = new Map();
  for (const node of nodes) {
    const kind = `${node.nodeName} ${keyOf(node)}`;
    count.set(kind, (count.get(kind) ?? 0) + 1);
    found.set(`${count.get(kind)} ${kind}`, node); // two rows of one key are a fault of the page, and both shown
  }
  return found;
}

/** The nodes that need not move: the longest run that is in order before and after, with what somebody is at in it. */
function unmoved(wanted, places, isAttended) {
  const runs = []; // of each node: what the best run that ends with it weighs, and which one comes before in it
  for (const node of wanted) {
    if (!places.has(node)) continue;
    const before = runs.filter((run) => places.get(run.node) < places.get(node));
    const previous = before.reduce((best, run) => (run.weight > (best?.weight ?? 0) ? run : best), null);
    runs.push({ node, previous, weight: (previous?.weight ?? 0) + (isAttended(node) ? HEAVY : 1) });
  }
  const staying = new Set();
  let run = runs.reduce((best, one) => (one.weight > (best?.weight ?? 0) ? one : best), null);
  for (; run; run = run.previous) staying.add(run.node);
  return staying;
}
