// Renews the page's content in place every two seconds while it is visible.
const EVERY_MS = 2000;

async function renew() {
  if (document.visibilityState !== "visible") return;
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("status");
    const focused = document.activeElement && document.activeElement.id;
    document.getElementById("status").replaceWith(document.adoptNode(fresh));
    if (focused) document.getElementById(focused)?.focus();
  } catch {
    // the agent is away; the next attempt tells
  }
}

setInterval(renew, EVERY_MS);
