// Searches the event types of a form, and copies a secret. Without it, all types are shown.
"use strict";
(() => {
  const search = document.querySelector("[data-filter]");
  if (search) {
    const shown = search.closest(".filter").querySelector("output");
    search.closest(".filter").hidden = false;
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const group of document.querySelectorAll(".types .group")) {
        let any = false;
        for (const label of group.querySelectorAll("label")) {
          const text = label.textContent.toLowerCase();
          const fits = words.every((word) => text.includes(word));
          label.hidden = !fits && !label.querySelector("input").checked;
          any = any || !label.hidden;
          count += fits ? 1 : 0;
        }
        group.hidden = !any;
      }
      shown.textContent = words.length ? `${count} of them` : "";
    });
    search.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  }
  for (const code of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    });
    code.after(button);
  }
})();
