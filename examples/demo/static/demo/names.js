// What to call a connection: the name its token or session carries (conn_info), else the nickname it last said, else
// the start of its client id. Nicknames come from other people's browsers: they are text, and short.

const animals = ["Otter", "Heron", "Lynx", "Puffin", "Badger", "Marten", "Osprey", "Seal", "Tern", "Wombat", "Ibex", "Crane"];

const said = new Map();

export function randomName() {
  const animal = animals[Math.floor(Math.random() * animals.length)];
  return `${animal} ${10 + Math.floor(Math.random() * 90)}`;
}

export function cleanName(value) {
  return typeof value === "string" ? value.trim().slice(0, 24) : "";
}

/** Remember what a connection calls itself; true if that is news. */
export function learn(client, nick) {
  const name = cleanName(nick);
  if (!client || !name || said.get(client) === name) return false;
  said.set(client, name);
  return true;
}

export function shortId(client) {
  return client.slice(0, 8);
}

export function nameOf(info) {
  return cleanName(info.connInfo?.name) || said.get(info.client) || shortId(info.client);
}

/** A stable number below `count` for a text, to colour it by. */
export function hue(text, count) {
  let sum = 0;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return sum % count;
}
