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
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* a proxy's page */ }
  if (!response.ok) throw new Error((value && value.detail) || `${response.status} ${response.statusText}: the service does not answer; try again`);
  return value;
}

/* Follow a stream of events. The browser tries again by itself where a line breaks, but not after a
   refusal: too many requests, or a proxy whose server is down. */
function follow(path, onmessage, onend) {
  let waitS = 5;
  let last = ["", 0]; // the job and the place in its log that were shown
  (function open() {
    const stream = new EventSource(path);
    stream.onopen = () => { waitS = 5; };
    stream.onmessage = (message) => {
      const [job, end] = message.lastEventId.split(".");
      if (job === last[0] && Number(end) <= last[1]) return; // a new stream begins at the beginning
      last = [job, Number(end)];
      onmessage(message);
    };
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED || waitS > 600) return;
      setTimeout(open, waitS * 1000);
      waitS *= 2;
    };
    stream.addEventListener("end", () => { stream.close(); onend(); });
  })();
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
