"use strict";
// Follows what the server says changed (see `changes.rs`), and sends what a viewer does. Texts are set, never markup.

const lines = Number(document.querySelector("#stage").dataset.page);
const cards = [...document.querySelectorAll(".card")];
const ways = [...document.querySelectorAll(".way")];
const look = { board: "best", page: 0, around: null };
let shown = [];
let links = [];
let events = null;
let quiet = 0;

const find = (selector, within = document) => within.querySelector(selector);
const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

function say(text) {
  find("#notice").textContent = text;
  clearTimeout(quiet);
  if (text) quiet = setTimeout(() => say(""), 8000);
}

async function send(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    say(answer.ok ? "" : (await answer.json()).error);
    return answer.ok;
  } catch {
    say("The page's server does not answer.");
    return false;
  }
}

// What one region shows.

function draw(region, changed) {
  const card = cards[region];
  const { seen, down } = shown[region];
  card.classList.toggle("down", Boolean(down));
  const state = find(".state", card);
  state.textContent = down ? "unreachable" : `${number(seen.players)} ${seen.players === 1 ? "player" : "players"}`;
  state.title = down ?? "";
  const fate = find(".fate", card);
  if (fate) {
    fate.dataset.fate = down ? "restart" : "kill";
    fate.textContent = down ? "Restart" : "Kill";
  }
  const table = find("table", card);
  table.dataset.note = down && !seen?.lines ? down : "";
  if (!seen) return;
  if (!down) table.dataset.note = seen.absent ? `${look.around} has no points here yet` : seen.lines ? "" : "Nobody here";
  [...find("tbody", card).rows].forEach((row, line) => {
    const [rank, player, points] = row.cells;
    const [name, score] = (line < seen.lines && seen.rows[line]) || ["", null];
    rank.textContent = score === null ? "" : seen.first + line + 1;
    find("bdi", player).textContent = name;
    player.title = name;
    points.textContent = score === null ? "" : number(score);
    row.classList.toggle("wanted", look.around !== null && name === look.around);
    if (changed.has(line)) {
      row.classList.remove("changed");
      void row.offsetWidth; // Restarts the animation.
      row.classList.add("changed");
    }
  });
}

function follow(change) {
  const isFirst = !shown[change.region];
  const now = (shown[change.region] ??= { seen: null, down: null });
  if (change.down !== undefined) {
    now.down = change.down;
    draw(change.region, new Set());
    return;
  }
  now.down = null;
  const rows = (now.seen?.rows ?? []).slice(0, change.lines);
  for (const [line, ...row] of change.rows) rows[line] = row;
  now.seen = { ...change, rows };
  draw(change.region, new Set(isFirst ? [] : change.rows.map(([line]) => line)));
}

// Links.

function behind({ queued, waiting }) {
  if (queued === null) return "nobody knows";
  if (queued === 0) return "in step";
  const time = waiting < 1000 ? `${waiting} ms` : `${(waiting / 1000).toFixed(1)} s`;
  return `${number(queued)} queued · ${time}`;
}

function drawLinks() {
  for (const way of ways) {
    const link = links[Number(way.dataset.link)];
    if (!link) continue;
    way.classList.toggle("is-cut", link.cut);
    way.classList.toggle("is-late", !link.cut && (link.queued === null || link.waiting > 1000));
    find(".lag", way).textContent = behind(link);
    const button = find(".cut", way);
    if (!button) continue;
    button.textContent = link.cut ? "Heal" : "Cut";
    button.setAttribute("aria-label", `${button.textContent} ${way.dataset.from} to ${way.dataset.to}`);
  }
  for (const panel of document.querySelectorAll(".link")) {
    const cuts = panel.querySelectorAll(".is-cut").length;
    find(`#lines [data-pair="${panel.dataset.pair}"]`).setAttribute("class", ["whole", "half", "cut"][cuts]);
    const both = find(".both", panel);
    if (both) both.textContent = cuts === 2 ? "Heal both ways" : "Cut both ways";
  }
}

// Looking at another page begins a new stream: its first event has everything.

function watch() {
  events?.close();
  shown = [];
  const query = new URLSearchParams({ board: look.board });
  if (look.around === null) query.set("page", look.page);
  else query.set("around", look.around);
  events = new EventSource(`/events?${query}`);
  // Also after a line that broke: the server begins anew, and so does the page.
  events.onopen = () => {
    shown = [];
    document.body.classList.remove("offline");
  };
  events.onerror = () => {
    document.body.classList.add("offline");
    if (events.readyState === EventSource.CLOSED) say("The page's server refused: too many viewers, or nothing to look at.");
  };
  events.onmessage = (event) => {
    const change = JSON.parse(event.data);
    for (const region of change.regions ?? []) follow(region);
    const hasMore = ({ seen }) => seen?.players > (look.page + 1) * lines;
    find("#next").disabled = look.around !== null || !shown.some(hasMore);
    for (const { link, ...state } of change.links ?? []) links[link] = state;
    if (change.links) drawLinks();
  };
  find("#place").textContent = look.around === null
    ? `${number(look.page * lines + 1)} – ${number((look.page + 1) * lines)}`
    : `around ${look.around}`;
  find("#previous").disabled = look.around !== null || look.page === 0;
  find("#next").disabled = true; // Until a region has more.
  find("#top").disabled = look.around === null && look.page === 0;
  for (const button of document.querySelectorAll(".board")) {
    button.setAttribute("aria-pressed", String(button.dataset.board === look.board));
  }
}

function go(where) {
  Object.assign(look, where);
  watch();
}

for (const button of document.querySelectorAll(".board")) {
  button.addEventListener("click", () => go({ board: button.dataset.board }));
}
find("#previous").addEventListener("click", () => go({ page: Math.max(0, look.page - 1) }));
find("#next").addEventListener("click", () => go({ page: look.page + 1 }));
find("#top").addEventListener("click", () => go({ page: 0, around: null }));
find("#around").addEventListener("submit", (event) => {
  event.preventDefault();
  const player = event.target.elements.player.value.trim();
  if (player) go({ around: player });
});

for (const card of cards) {
  const region = card.dataset.region;
  find("form", card).addEventListener("submit", (event) => {
    event.preventDefault();
    const { player, points } = event.target.elements;
    send("/points", { region, player: player.value, points: points.valueAsNumber });
  });
  find(".fate", card)?.addEventListener("click", (event) => send("/region", { region, fate: event.target.dataset.fate }));
}

for (const way of ways) {
  const { from, to, link } = way.dataset;
  find(".cut", way)?.addEventListener("click", () => send("/link", { from, to, cut: !links[Number(link)]?.cut }));
}
for (const panel of document.querySelectorAll(".link")) {
  find(".both", panel)?.addEventListener("click", () => {
    const cut = panel.querySelectorAll(".is-cut").length < 2;
    for (const way of panel.querySelectorAll(".way")) {
      send("/link", { from: way.dataset.from, to: way.dataset.to, cut });
    }
  });
}
find("#heal")?.addEventListener("click", () => {
  for (const { dataset } of ways) send("/link", { from: dataset.from, to: dataset.to, cut: false });
  for (const card of cards.filter((card) => card.classList.contains("down"))) {
    send("/region", { region: card.dataset.region, fate: "restart" });
  }
});

watch();
