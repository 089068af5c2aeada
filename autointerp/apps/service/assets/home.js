/* The bars of the runs that something works on move; a run that ends shows itself anew. */
"use strict";
for (const card of document.querySelectorAll('.card[data-active="true"]')) {
  const bar = card.querySelector("progress");
  const said = card.querySelector("[data-text]");
  follow(`/v1/runs/${card.dataset.run}/events`, (message) => {
    const event = JSON.parse(message.data);
    if (said) said.textContent = event.text;
    moveBar(bar, event);
  }, () => location.reload());
}
