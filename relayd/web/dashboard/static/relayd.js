// Refreshes the parts of a page that are marked data-live, while somebody looks. Without it, a page is as
// it was when it was opened.
"use strict";
(() => {
  const EVERY_MS = 3000;
  const parts = () => [...document.querySelectorAll("[data-live]")];
  if (!parts().length) return;
  const button = document.createElement("button");
  const note = document.querySelector("[data-updated]");
  button.type = "button";
  button.className = "plain";
  button.addEventListener("click", () => { paused = !paused; shown(); if (!paused) refresh(); });
  if (note) note.before(button);
  let paused = false;
  let failures = 0;

  function shown() {
    button.textContent = paused ? "Go on refreshing" : "Stop refreshing";
    document.documentElement.classList.toggle("stale", failures > 1);
    if (note && failures > 1) note.textContent = "Not up to date: the web process does not answer.";
  }

  function busy(part) {
    const selection = getSelection();
    return part.contains(document.activeElement) && document.activeElement.matches("input, select, summary")
      || !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  function take(fresh) {
    for (const part of parts()) {
      const other = fresh.getElementById(part.id);
      if (!other || busy(part) || other.outerHTML === part.outerHTML) continue;
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
      part.replaceWith(other);
      other.querySelectorAll("details").forEach((each, index) => { each.open = open[index] || false; });
      if (focused) [...other.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused)?.focus();
    }
  }

  async function refresh() {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Refresh": "1" }, signal: AbortSignal.timeout(10000) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      failures = 0;
      if (note) note.textContent = `Updated ${new Date().toLocaleTimeString()}`;
    } catch {
      failures += 1;
    }
    shown();
  }

  shown();
  setInterval(refresh, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);
})();
