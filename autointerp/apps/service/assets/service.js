/* What pages of the service share. */
"use strict";
const CSRF = document.querySelector('meta[name="csrf"]').content;

/* Send a request to the service; return what it answers, or throw its line. */
async function send(method, path, body, headers = {}) {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: {
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(method === "GET" ? {} : { "X-CSRF-Token": CSRF }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  const value = text ? JSON.parse(text) : null;
  if (!response.ok) throw new Error((value && value.detail) || response.statusText);
  return value;
}

/* Move a bar as an event of progress says. */
function moveBar(bar, event) {
  const fields = event.fields;
  if (event.kind === "Asking") {
    bar.max = fields.tally.total || 1;
    bar.value = fields.tally.done;
  } else if (event.kind === "Harvesting") {
    if (fields.total) { bar.max = fields.total; bar.value = fields.tokens; } else bar.removeAttribute("value");
  } else if (event.kind === "Measuring") {
    bar.max = fields.total || 1;
    bar.value = fields.done;
  }
}

/* A table that does not fit is a stop of the keyboard, so that arrows scroll it; one that fits is none. */
addEventListener("DOMContentLoaded", () => {
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const fits = target.scrollWidth <= target.clientWidth + 1;
      target.classList.toggle("fits", fits);
      if (fits) for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
      else {
        const heading = target.closest("section")?.querySelector("h2") || document.querySelector("h1");
        target.setAttribute("tabindex", "0");
        target.setAttribute("role", "group");
        target.setAttribute("aria-label", `${target.closest("figure")?.querySelector("figcaption")?.textContent || heading.textContent}, a table`);
      }
    }
  });
  for (const box of document.querySelectorAll(".scroll, .list.served")) sizes.observe(box);
});
