// Keeps the sync board fresh: replaces the rows the server says have changed, and recounts.
const rows = document.getElementById("rows");
const feed = document.getElementById("feed");

function say(live) {
  feed.hidden = false;
  feed.textContent = live ? feed.dataset.live : feed.dataset.paused;
  feed.classList.toggle("paused", !live);
}

function find(site) {
  return [...rows.children].find((row) => row.dataset.site === site);
}

function put({ site, html }) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  const old = find(site);
  if (old) {
    old.replaceWith(fresh);
  } else {
    const after = [...rows.children].find((row) => row.dataset.site > site);
    rows.insertBefore(fresh, after ?? null);
  }
}

function recount() {
  const all = [...rows.children];
  for (const tally of document.querySelectorAll("[data-tally]")) {
    const name = tally.dataset.tally;
    tally.textContent = name === "documents"
      ? all.reduce((sum, row) => sum + Number(row.dataset.documents), 0)
      : all.filter((row) => row.dataset.state === name).length;
  }
  rows.closest("table").hidden = all.length === 0;
  document.getElementById("empty").hidden = all.length > 0;
}

const source = new EventSource("/board/events");
source.addEventListener("open", () => say(true));
source.addEventListener("error", () => say(false));
source.addEventListener("sites", (event) => {
  JSON.parse(event.data).forEach(put);
  recount();
});
addEventListener("pagehide", () => source.close());
