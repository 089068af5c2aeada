/* A run's page moves as its job goes: events of the server, buttons for the owner. */
"use strict";
(() => {
  const live = document.getElementById("live");
  const run = live.dataset.run;
  const part = (name) => document.getElementById("live-" + name);
  const count = (n) => Number(n).toLocaleString("en");

  function show(event) {
    part("text").textContent = event.text;
    const fields = event.fields;
    const bar = part("bar");
    if (event.kind === "Asking") {
      part("label").textContent = fields.label;
      bar.max = fields.tally.total || 1;
      bar.value = fields.tally.done;
      const spent = fields.tally.spent_usd ? `, $${fields.tally.spent_usd.toFixed(2)}` : "";
      part("text").textContent = `${count(fields.tally.done)} of ${count(fields.tally.total)}${spent}`;
    } else if (event.kind === "Harvesting") {
      part("label").textContent = "harvest " + fields.label;
      if (fields.total) { bar.max = fields.total; bar.value = fields.tokens; } else bar.removeAttribute("value");
    } else if (event.kind === "Measuring") {
      part("label").textContent = fields.lab;
      bar.max = fields.total; bar.value = fields.done;
    } else if (event.kind === "Note" || event.kind === "Looked" || event.kind === "Forecasted") {
      const line = document.createElement("li");
      line.textContent = event.text;
      part("notes").append(line);
    } else if (event.kind === "Ended") {
      part("state").textContent = fields.state;
    }
  }

  function watch() {
    const stream = new EventSource(`/v1/runs/${run}/events`);
    stream.onmessage = (message) => show(JSON.parse(message.data));
    stream.addEventListener("end", () => { stream.close(); location.reload(); });
  }

  async function change(method, path, body) {
    const problem = part("problem");
    problem.hidden = true;
    try {
      const job = await send(method, `/v1/runs/${run}/${path}`, body);
      part("state").textContent = job.state;
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
  if (live.dataset.active === "true") watch();
})();
