/* Forms that send what a model of /v1 takes: a price before a start, a link for an invitation. */
"use strict";
(() => {
  const form = document.querySelector("form.form");
  const part = (id) => document.getElementById(id);
  const problem = part("problem");

  function say(words) { const busy = part("busy"); if (busy) busy.textContent = words; }
  function fail(error) {
    problem.textContent = error.message;
    problem.hidden = false;
    problem.scrollIntoView({ block: "nearest" });
  }

  /* What the fields hold, as JSON values; those that are empty are left out. */
  function values() {
    const wanted = {};
    for (const list of form.querySelectorAll("[data-list]"))
      wanted[list.dataset.list] = [...list.querySelectorAll("input:checked")].map((one) => one.value);
    for (const field of form.querySelectorAll("input[name], select[name], textarea[name]")) {
      if (field.closest("[data-list]")) continue;
      if (field.dataset.kind === "checkbox") wanted[field.name] = field.checked;
      else if (field.validity.badInput) throw new Error(`${field.labels[0].querySelector("span").textContent}: give a number`);
      else if (field.value.trim() === "") continue;
      else wanted[field.name] = field.dataset.kind === "number" ? Number(field.value) : field.value;
    }
    return wanted;
  }

  async function whileBusy(words, buttons, action) {
    problem.hidden = true;
    say(words);
    for (const one of buttons) one.disabled = true;
    try { await action(); } catch (error) { fail(error); } finally {
      say("");
      for (const one of buttons) one.disabled = false;
    }
  }

  for (const button of document.querySelectorAll("[data-revoke]"))
    button.addEventListener("click", () => whileBusy("", [button], async () => {
      if (button.dataset.sure !== "yes") { // a second click means it
        button.dataset.sure = "yes";
        const words = button.textContent;
        button.textContent = "Really?";
        setTimeout(() => { button.dataset.sure = ""; button.textContent = words; }, 4000);
        return;
      }
      await send("DELETE", `/v1/tokens/${button.dataset.revoke}`);
      location.reload();
    }));
  if (!form) return;
  const submit = form.querySelector("button[type=submit]");

  if (form.id === "start") {
    let priced = null;
    let key = "";
    const forecast = part("forecast");
    form.addEventListener("input", () => { priced = null; forecast.hidden = true; });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      whileBusy("Asking what it would do; a model may have to be loaded.", [submit], async () => {
        const wanted = values();
        const said = await send("POST", `${form.dataset.post}?dry_run=true`, wanted);
        const cost = said.cost ? `About ${said.cost}.` : "No price is known for this rater: give the two prices, or start without.";
        part("forecast-text").textContent = `${said.text}. ${cost}`.replace("..", ".");
        priced = wanted;
        key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
        forecast.hidden = false;
        part("forecast-heading").focus();
      });
    });
    part("go").addEventListener("click", () => {
      if (!priced) return;
      whileBusy("Starting.", [part("go"), submit], async () => {
        const job = await send("POST", form.dataset.post, priced, { "Idempotency-Key": key });
        location.assign(`/runs/${job.run}`);
      });
    });
  } else {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      whileBusy("Making the session; text of the corpus may have to be read.", [submit], async () => {
        const made = await send("POST", form.dataset.post, values());
        part("made-text").textContent = `${made.rater}: ${made.asked}; ${made.controls} of the items are controls.`;
        part("made-link").value = made.link;
        part("made-notes").replaceChildren(...made.notes.map((note) => {
          const line = document.createElement("li");
          line.textContent = note;
          return line;
        }));
        part("made").hidden = false;
        part("made-heading").focus();
      });
    });
    part("copy").addEventListener("click", async () => {
      part("made-link").select();
      try { await navigator.clipboard.writeText(part("made-link").value); part("copy").textContent = "Copied"; } catch { /* it is selected */ }
    });
  }
})();
