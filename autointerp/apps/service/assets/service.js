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
