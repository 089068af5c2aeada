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
