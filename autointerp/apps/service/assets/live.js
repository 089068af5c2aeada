/* A run that something works on: its bar and its notes as they come, and what stops or slows it. */
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const run = live.dataset.run;
  const part = (name) => document.getElementById("live-" + name);

  function show(event) {
    const fields = event.fields;
    moveBar(part("bar"), event);
    part("text").textContent = event.text;
    if (event.kind === "Asking") {
      part("label").textContent = fields.label;
      part("text").textContent = event.text.split(": ").pop(); // behind the label
    } else if (event.kind === "Harvesting") {
      part("label").textContent = "harvest " + fields.label;
    } else if (event.kind === "Measuring") {
      part("label").textContent = fields.lab;
    } else if (event.kind === "Note" || event.kind === "Looked" || event.kind === "Forecasted") {
      const line = document.createElement("li");
      line.textContent = event.text;
      part("notes").append(line);
    } else if (event.kind === "Ended") {
      showState(fields.state);
    }
  }

  function showState(state) {
    const mark = live.querySelector(".state");
    mark.textContent = mark.dataset.state = state;
    const isPaused = state === "paused";
    for (const [act, hidden] of [["pause", isPaused], ["resume", !isPaused]]) {
      const button = live.querySelector(`[data-act=${act}]`);
      if (!button) continue;
      const had = button === document.activeElement;
      button.hidden = hidden;
      if (hidden && had) live.querySelector(`[data-act=${isPaused ? "resume" : "pause"}]`).focus();
    }
  }

  async function change(method, path, body) {
    const problem = part("problem");
    problem.hidden = true;
    try {
      const job = await send(method, `/v1/runs/${run}/${path}`, body);
      showState(path === "stop" && job.state !== "stopped" ? "stopping" : job.state);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }

  for (const button of live.querySelectorAll("[data-act]"))
    button.addEventListener("click", () => change("POST", button.dataset.act));
  const limits = document.getElementById("limits");
  if (limits) limits.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = {};
    for (const [name, value] of new FormData(limits)) wanted[name] = value === "" ? null : Number(value);
    change("PATCH", "limits", wanted);
  });
  follow(`/v1/runs/${run}/events`, (message) => show(JSON.parse(message.data)), () => location.reload());
})();
