/* A rater's sitting. What the rater does goes into a queue on this device first, each deed with an
   id; it leaves the queue when the server says that it is on its disk. So no answer is lost where
   the line is, and none counts twice. */
"use strict";

const CSRF = document.querySelector('meta[name="csrf"]').content;
const IDLE_S = 120; // without a key for longer than this, the rest is not counted as work
const WAITS_S = [1, 2, 4, 8, 15, 30];
const MOST_AT_ONCE = 20;

const at = (id) => document.getElementById(id);
const make = (name, fields = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(fields)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};

let question = null;
let state = null;
let ahead = []; // steps as the server sent them, but for those that are answered here
let past = []; // steps that were answered here, for undo
let queue = []; // deeds that are not acknowledged
let sheet = null; // what lies over the item: {keys}
let typed = "";
let wide = false;
let guessed = false; // whether the words before the last question were shown
let sending = false;
let failures = 0;
let isBusy = false; // whether the server asked to wait
let trouble = ""; // why nothing is sent now
let timer = 0;
let stopped = ""; // why nothing can be sent any more
let worked = 0, seen = 0, paused = true;

/* ---------------------------------------------------------------- time */

function touch() {
  const now = performance.now() / 1000;
  if (!paused && !document.hidden) worked += Math.min(Math.max(0, now - seen), IDLE_S);
  seen = now;
}
function startWork() { worked = 0; seen = performance.now() / 1000; paused = false; }
document.addEventListener("visibilitychange", () => {
  touch();
  seen = performance.now() / 1000;
  if (!document.hidden && !isBusy) flush(); // a device that slept has missed its turn
});

/* --------------------------------------------------------------- queue */

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
const TAB = newId(); // each window has a shelf of its own, so that none overwrites another's
const shelves = () => `autointerp-rating-${state.sitting}-`;
function keep() {
  try {
    if (queue.length) localStorage.setItem(shelves() + TAB, JSON.stringify(queue));
    else localStorage.removeItem(shelves() + TAB);
  } catch { /* a private window: the queue is in memory alone */ }
}
/* What windows before this one left unsent; one that still lives sends the same ids. */
function taken() {
  const left = [];
  try {
    for (const key of Object.keys(localStorage).filter((one) => one.startsWith(shelves()))) {
      left.push(...JSON.parse(localStorage.getItem(key)));
      localStorage.removeItem(key);
    }
  } catch { /* nothing that can be read */ }
  return left;
}
function put(deed) {
  queue.push({ id: newId(), score: null, text: "", seconds: 0, ...deed });
  keep();
  flush();
}

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: method === "GET" ? {} : { "Content-Type": "application/json", "X-CSRF-Token": CSRF },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) {
    let line = response.statusText;
    try { line = JSON.parse(text).detail || line; } catch { /* a proxy's page */ }
    const error = new Error(line);
    const isOurs = (response.headers.get("Content-Type") || "").startsWith("application/problem+json");
    error.status = response.status;
    error.isOurs = isOurs;
    error.passes = !isOurs || response.status >= 500 || [408, 425, 429].includes(response.status);
    error.waitS = Number(response.headers.get("Retry-After")) || 0;
    throw error;
  }
  return JSON.parse(text);
}

async function flush() {
  if (sending || !queue.length || stopped) return;
  sending = true;
  clearTimeout(timer);
  const sent = queue.slice(0, MOST_AT_ONCE);
  try {
    const held = [...past.slice(-12), ...ahead].map((step) => step.key); // not to be sent again
    const answered = await ask("POST", "/rate/deeds", { deeds: sent, held });
    failures = 0;
    const done = new Map(answered.outcomes.map((one) => [one.id, one]));
    queue = queue.filter((deed) => !done.has(deed.id));
    keep();
    receive(answered.state);
    for (const one of answered.outcomes) { // said beside the item that now stands there
      if (one.refused) tell(`One answer was not taken: ${one.refused}.`);
    }
    const feedback = answered.outcomes.map((one) => one.feedback).filter(Boolean).pop();
    if (feedback) showFeedback(feedback);
  } catch (error) {
    if (error.status && !error.passes && error.status !== 409) {
      stopped = error.message;
    } else {
      const wait = Math.max(WAITS_S[Math.min(failures, WAITS_S.length - 1)], error.waitS || 0);
      failures += 1;
      isBusy = error.status === 429;
      trouble = isBusy ? "The server is busy." : error.isOurs ? `The server says: ${error.message}.` : "No connection.";
      timer = setTimeout(flush, wait * 1000 * (0.75 + Math.random() / 2));
    }
  } finally {
    sending = false;
  }
  showLine();
  if (queue.length && !failures) flush();
}
addEventListener("online", () => { failures = 0; flush(); });
addEventListener("beforeunload", (event) => { if (queue.length) event.preventDefault(); });

/* What the server says, less what was answered here and has not got there. */
function receive(fresh) {
  const kept = state && state.sitting === fresh.sitting ? ahead : [];
  state = fresh;
  const pending = new Set();
  const undone = new Set();
  for (const deed of queue) {
    if (["score", "skip", "guess"].includes(deed.verb)) { pending.add(deed.step); undone.delete(deed.step); }
    if (deed.verb === "undo") { pending.delete(deed.step); undone.add(deed.step); }
  }
  const shown = ahead.length ? ahead[0].key : null;
  const known = new Map([...past, ...kept, ...fresh.steps].map((step) => [step.key, step]));
  const steps = fresh.order.map((key) => known.get(key)).filter((step) => step && !pending.has(step.key));
  const back = kept.filter((step) => undone.has(step.key) && !steps.some((one) => one.key === step.key));
  ahead = [...back, ...steps];
  for (const step of ahead) { // what was written and not yet sent
    for (const deed of queue) if (deed.step === step.key && deed.verb === "describe") step.description = deed.text;
  }
  const place = ahead.findIndex((step) => step.key === shown);
  if (place > 0) ahead.unshift(...ahead.splice(place, 1)); // the item on the screen stays there
  if (!sheet || sheet.waits) {
    sheet = null;
    show(ahead.length > 0 && ahead[0].key === shown);
  } else showProgress();
}

/* ---------------------------------------------------------------- look */

function tell(words) { at("live").textContent = ""; requestAnimationFrame(() => { at("live").textContent = words; }); at("typed").textContent = words; }

function showLine() {
  const line = at("line");
  const many = queue.length === 1 ? "1 answer" : `${queue.length} answers`;
  if (stopped) line.textContent = `Stopped: ${stopped}. ${queue.length ? `${many} ${queue.length === 1 ? "waits" : "wait"} on this device.` : ""}`;
  else if (failures) line.textContent = `${trouble} ${queue.length ? `${many} safe on this device; ` : ""}trying again. You may go on.`;
  line.hidden = !stopped && !failures;
}

function showProgress() {
  const waiting = queue.filter((deed) => ["score", "skip", "guess"].includes(deed.verb)).length
    - queue.filter((deed) => deed.verb === "undo").length;
  const done = Math.min(state.total, state.done + Math.max(0, waiting));
  at("bar").max = Math.max(1, state.total);
  at("bar").value = state.finished ? at("bar").max : done;
  let words = state.progress;
  if (waiting > 0 && ahead.length) words = words.replace(/\d+ of/, `${Math.min(state.total, done + 1)} of`);
  at("progress").textContent = words;
  showLine();
}

function show(same = false) {
  showProgress();
  if (state.consent) return showConsent();
  const step = ahead[0];
  if (!step) {
    if (state.finished && !queue.length) return showDone();
    at("item").hidden = at("answers").hidden = true;
    showSheet("One moment", ["Waiting for the server. Your answers are safe."], []);
    sheet.waits = true;
    return;
  }
  if (step.kind === "guess" && !guessed && state.guess) {
    guessed = true;
    showSheet("One last question", [state.guess.intro.replace("x and then g leaves", "x leaves")], [
      button("Go on", "Enter", closeSheet, true),
      button("Leave these out", "x", showParts),
    ]);
    for (const [key] of state.guess.answers) sheet.keys[key] = closeSheet; // no answer: nothing was asked yet
    return;
  }
  if (step.kind !== "guess") guessed = false;
  at("sheet").hidden = true;
  at("item").hidden = at("answers").hidden = false;
  document.title = state.progress;
  const isGuess = step.kind === "guess";
  at("item-title").textContent = isGuess ? state.guess.title : question.title;
  at("proposed").hidden = step.proposed === null;
  at("proposed").textContent = step.proposed === null ? "" : `Proposed: ${step.proposed}`;
  at("written").hidden = !step.description;
  at("written").textContent = `Your description: ${step.description}`;
  if (!same) {
    wide = step.widened;
    typed = "";
    at("typed").textContent = "";
    startWork();
  }
  showContexts(step);
  showLevels(isGuess);
  showTools(step);
  if (!same) {
    scrollTo(0, 0);
    at("item-title").focus({ preventScroll: true });
    at("live").textContent = `${state.progress}`;
  }
  showBelow();
}

function grade(level) { return level <= 0 ? 0 : Math.min(5, Math.ceil(level / 2)); }

function showContexts(step) {
  at("contexts").replaceChildren(...step.contexts.map((context) => {
    const isAligned = context.focus !== null && !wide;
    const whole = make("div", { className: isAligned ? "text aligned" : "text", dir: "auto" });
    const lead = make("span", { className: "lead" });
    const rest = make("span", { className: "rest" });
    whole.append(lead, rest);
    let text = lead;
    if (wide && context.before) text.append(make("span", { className: "around" }, context.before));
    context.tokens.forEach((token, place) => {
      const level = context.levels ? context.levels[place] : 0;
      const isFocus = place === context.focus;
      if (isFocus) text = rest;
      if (!isFocus && !level) { text.append(token); return; }
      const mark = make("mark");
      if (isFocus) { mark.className = "focus"; mark.append(make("span", { className: "aside" }, " marked: ")); }
      if (level) mark.dataset.grade = grade(level);
      mark.append(token);
      if (level) mark.append(make("sub", {}, make("span", { className: "aside" }, " strength "), String(level)));
      if (isFocus) mark.append(make("span", { className: "aside" }, " end of mark "));
      text.append(mark);
    });
    if (wide && context.after) text.append(make("span", { className: "around" }, context.after));
    return make("li", {}, whole);
  }));
}

function button(words, key, action, first = false, disabled = false) {
  const made = make("button", { type: "button", className: first ? "first" : "", disabled });
  if (key) { made.append(make("kbd", { "aria-hidden": "true" }, key)); made.setAttribute("aria-keyshortcuts", key); }
  made.append(make("span", { className: "name" }, words));
  made.addEventListener("click", () => { touch(); action(); });
  return made;
}

function showLevels(isGuess) {
  const levels = at("levels");
  if (isGuess) {
    levels.className = "";
    levels.replaceChildren(...state.guess.answers.map(([key, value, words]) => button(words, key, () => give("guess", value))));
    return;
  }
  levels.className = question.levels.length > 7 ? "many" : question.levels.length === 5 ? "five" : "";
  levels.replaceChildren(...question.levels.map((level) => {
    const made = button(level.name, level.key, () => give("score", level.score));
    // Its name begins with what is seen, so that a voice can press it, and says the rest of the level.
    made.querySelector("kbd").removeAttribute("aria-hidden");
    const isShort = level.label.startsWith(level.name) && levels.className !== "many";
    made.append(make("span", { className: "aside" }, isShort ? level.label.slice(level.name.length) : ` ${level.label}`));
    made.title = level.label;
    return made;
  }));
}

function canUndo(step) {
  const last = past[past.length - 1];
  if (last) return last.kind === step.kind && last.kind !== "training";
  return Boolean(state.last) && !queue.length;
}

function showTools(step) {
  const isRating = step.kind === "rating";
  const hasMore = step.contexts.some((context) => context.before || context.after);
  const tools = [button("Undo", "u", undo, false, !canUndo(step))];
  if (isRating) tools.push(button("Skip", "s", showSkip));
  if (step.kind !== "guess") tools.push(button("Describe", "n", showDescribe));
  if (hasMore) {
    const more = button(wide ? "Less" : "More", "m", widen);
    more.setAttribute("aria-pressed", wide);
    tools.push(more);
  }
  if (state.parts.length) tools.push(button("Leave out", "x", showParts));
  tools.push(button("Rubric", "?", showRubric), button("Pause", "p", pause));
  at("tools").replaceChildren(...tools);
}

function showBelow() {
  const footer = at("answers").getBoundingClientRect();
  const hidden = [...at("contexts").children].filter((one) => one.getBoundingClientRect().bottom > footer.top + 2).length;
  at("below").textContent = hidden ? `${hidden} more context${hidden === 1 ? "" : "s"} below` : "";
}
addEventListener("resize", () => { if (!at("item").hidden) showBelow(); });
addEventListener("scroll", () => { if (!at("item").hidden) showBelow(); }, { passive: true });

/* -------------------------------------------------------------- sheets */

function showSheet(title, body, buttons, keys = {}) {
  touch();
  paused = true;
  at("item").hidden = at("answers").hidden = true;
  at("sheet").hidden = false;
  at("sheet-title").textContent = title;
  at("sheet-body").replaceChildren(...body.map((part) => (typeof part === "string" ? make("pre", { dir: "auto" }, part) : part)));
  at("sheet-buttons").replaceChildren(...buttons);
  sheet = { keys };
  for (const one of buttons) {
    const key = one.getAttribute("aria-keyshortcuts");
    if (key) sheet.keys[key] = () => { if (!one.disabled) one.click(); };
  }
  scrollTo(0, 0);
  const field = at("sheet-body").querySelector("textarea, input[type=text]");
  if (field) field.focus();
  else at("sheet-title").focus({ preventScroll: true });
}

/* Go on with the same item: reading the sheet was not its time, but what was worked before counts. */
function closeSheet() {
  const before = worked;
  const same = Boolean(ahead[0]) && ahead[0].key === current;
  sheet = null;
  at("sheet").hidden = true;
  show(same);
  if (same) { worked = before; seen = performance.now() / 1000; paused = false; }
  if (ahead[0]) current = ahead[0].key;
}
let current = null;

function partBoxes(onchange) {
  return state.parts.map((part) => {
    const box = make("input", { type: "checkbox", checked: !part.declined });
    box.addEventListener("change", () => onchange(part, box));
    return make("label", {}, box, part.words);
  });
}

function turnPart(part, box) {
  part.declined = !box.checked;
  if (part.declined) {
    const kinds = { practice: "training", guesses: "guess" };
    ahead = ahead.filter((step) => step.kind !== kinds[part.part]);
  }
  put({ step: part.part, verb: box.checked ? "accept" : "decline" });
}

function showWelcome() {
  const again = state.begun ? "Welcome back. " : "";
  const rubric = make("details", { open: !state.begun }, make("summary", {}, "How to judge"), make("pre", { dir: "auto" }, question.rubric));
  const parts = partBoxes(turnPart);
  showSheet(question.title, [
    `${again}${state.left} question${state.left === 1 ? "" : "s"}, about ${state.work} of work: ${state.to_rate} item${state.to_rate === 1 ? "" : "s"} to rate${parts.length ? ", and" : "."}`,
    make("div", {}, ...parts),
    `${parts.length ? "What you untick is left out, now or later. " : ""}Stop whenever you like: each answer is safe as soon as you have given it, and this address goes on from there.`,
    rubric,
  ], [button("Begin", "Enter", closeSheet, true)]);
}

function showConsent() {
  showSheet("Before you begin", [state.consent], [
    button("I agree", "", async () => {
      try { receiveFirst(await ask("POST", "/rate/consent", {})); } catch (error) { tell(error.message); }
    }, true),
  ]);
}

function showFeedback(feedback) {
  showSheet("Practice", [feedback.words], [button("Go on", "Enter", closeSheet, true)]);
}

function showRubric() {
  current = ahead[0] && ahead[0].key;
  showSheet(question.title, [question.rubric], [button("Back", "Enter", closeSheet, true)]);
}

function pause() {
  current = ahead[0] && ahead[0].key;
  showSheet("Paused", ["The time is not counted until you come back."], [button("Go on", "Enter", closeSheet, true)]);
}

function showParts() {
  current = ahead[0] && ahead[0].key;
  showSheet("Leave out", ["What is not ticked is not asked.", make("div", {}, ...partBoxes(turnPart))], [button("Done", "Enter", closeSheet, true)]);
}

function showSkip() {
  current = ahead[0].key;
  const field = make("input", { type: "text", maxLength: 500, "aria-label": "Another reason", placeholder: "another reason" });
  const skip = (reason) => { if (reason.trim()) { sheet = null; give("skip", reason.trim()); } };
  const reasons = question.skip_reasons.map((reason, place) => button(reason, String(place + 1), () => skip(reason)));
  showSheet("Why do you skip it?", [make("p", { className: "buttons" }, ...reasons), field], [
    button("Skip", "", () => skip(field.value), true),
    button("Back", "Escape", closeSheet),
  ]);
  field.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) skip(field.value); });
  reasons.forEach((one, place) => { sheet.keys[String(place + 1)] = () => skip(question.skip_reasons[place]); });
  at("sheet-title").focus({ preventScroll: true }); // digits choose; the field is a Tab away
}

function showDescribe() {
  const step = ahead[0];
  current = step.key;
  const field = make("textarea", { rows: 3, maxLength: 2000, dir: "auto", "aria-label": "Your description", value: step.description });
  const save = () => {
    const text = field.value.trim();
    if (text !== step.description) {
      step.description = text;
      put({ step: step.key, verb: "describe", text });
    }
    closeSheet();
  };
  showSheet("What is the unit about, in a few words?", [field], [
    button("Keep", "Enter", save, true),
    button("Back", "Escape", closeSheet),
  ]);
}

function showDone() {
  const body = ["That was all: every item is rated. Thank you."];
  if (state.code) body.push("Your completion code:", make("output", { className: "code" }, state.code));
  const buttons = [];
  if (state.return_url) buttons.push(button("Go back to the platform", "", () => location.assign(state.return_url), true));
  if (state.parts.some((part) => part.declined)) buttons.push(button("Take up what was left out", "x", showParts));
  showSheet("Done", body, buttons);
}

/* ------------------------------------------------------------- answers */

function give(verb, value) {
  const step = ahead[0];
  if (!step || paused && verb !== "skip" || stopped) return;
  touch();
  const deed = { step: step.key, verb, seconds: Math.round(worked * 1000) / 1000 };
  if (verb === "score") deed.score = value;
  else deed.text = value;
  ahead.shift();
  past.push(step);
  past = past.slice(-50);
  sheet = null;
  if (step.kind === "training") ahead = []; // what is said after it comes from the server
  if (!ahead.length) { paused = true; }
  show();
  if (ahead[0]) current = ahead[0].key;
  put(deed);
}

function undo() {
  const step = ahead[0];
  if (!step || !canUndo(step)) { tell("There is nothing to take back here."); return; }
  const last = past.pop();
  if (last) {
    ahead.unshift(last);
    show();
    put({ step: last.key, verb: "undo" });
  } else {
    ahead = [];
    show();
    put({ step: state.last, verb: "undo" });
  }
}

function widen() {
  const step = ahead[0];
  if (!step.contexts.some((context) => context.before || context.after)) { tell("There is no more of these contexts."); return; }
  wide = !wide;
  if (wide && !step.widened) { step.widened = true; put({ step: step.key, verb: "widen" }); }
  show(true);
}

/* ---------------------------------------------------------------- keys */

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const field = event.target.closest("input[type=text], textarea");
  if (sheet) {
    if (field && event.key !== "Escape" && !(event.key === "Enter" && field.tagName === "TEXTAREA" && !event.shiftKey)) return;
    if (event.key === "Enter" && event.target.closest("button, summary, input[type=checkbox]")) return;
    if (event.key === "Escape" && sheet.keys.Enter && !sheet.keys.Escape && !state.consent) { event.preventDefault(); sheet.keys.Enter(); return; }
    const action = sheet.keys[event.key];
    if (action) { event.preventDefault(); action(); }
    return;
  }
  if (!ahead.length || at("item").hidden) return;
  touch();
  const step = ahead[0];
  const isGuess = step.kind === "guess";
  if (!isGuess && question.typed && (/^\d$/.test(event.key) || typed)) {
    if (/^\d$/.test(event.key)) typed = (typed + event.key).slice(-2);
    else if (event.key === "Backspace") typed = typed.slice(0, -1);
    else if (event.key === "Enter") {
      const level = question.levels.find((one) => one.key === typed);
      const words = `${typed} is not on the scale.`;
      typed = "";
      if (level) give("score", level.score);
      else tell(words);
      event.preventDefault();
      return;
    } else { typed = ""; at("typed").textContent = ""; return; }
    at("typed").textContent = typed ? `${typed}, Enter gives it` : "";
    event.preventDefault();
    return;
  }
  if (isGuess) {
    const answer = state.guess.answers.find(([key]) => key === event.key);
    if (answer) { event.preventDefault(); give("guess", answer[1]); return; }
  } else {
    const level = question.levels.find((one) => one.key === event.key);
    if (level) { event.preventDefault(); give("score", level.score); return; }
  }
  const actions = { u: undo, m: widen, x: showParts, "?": showRubric, p: pause };
  if (step.kind === "rating") actions.s = showSkip;
  if (!isGuess) actions.n = showDescribe;
  if (!state.parts.length) delete actions.x;
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
});
addEventListener("pointerdown", touch, { passive: true });

/* --------------------------------------------------------------- begin */

function receiveFirst(fresh) {
  state = fresh;
  queue = taken();
  keep();
  ahead = [];
  sheet = { keys: {} };
  receive(fresh);
  if (state.consent) return showConsent();
  if (queue.length) flush();
  if (state.finished && !queue.length) return showDone();
  showWelcome();
}

(async function begin() {
  try {
    const [asked, fresh] = await Promise.all([ask("GET", "/rate/question"), ask("GET", "/rate/state")]);
    question = asked;
    receiveFirst(fresh);
  } catch (error) {
    if (error.status && !error.passes) { at("progress").textContent = error.message; return; }
    at("progress").textContent = `${error.status === 429 ? "The server is busy" : "No connection"}; trying again.`;
    setTimeout(begin, 1000 * Math.max(3, error.waitS || 0));
  }
})();
