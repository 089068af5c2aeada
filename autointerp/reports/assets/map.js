/* A map of points to look around in. All text reaches the page as text nodes. */
(() => {
  "use strict";
  const place = document.getElementById("atlas");
  if (!place) return;

  const LISTED = 50; // of the points that a search finds
  const NEAR_PX = 14; // from a point that a click still means it
  const ROUND = 4000; // points in sight up to which they are drawn round
  const RAMP = {
    light: [[166, 197, 232], [86, 140, 205], [30, 83, 158], [8, 29, 88]],
    dark: [[47, 78, 122], [74, 128, 199], [139, 188, 245], [224, 240, 255]],
  };

  async function bytesOf(name) {
    const text = document.getElementById("packed-" + name).textContent;
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await new Response(stream).arrayBuffer();
  }
  const unpack = async (name) => JSON.parse(new TextDecoder().decode(await bytesOf(name)));
  const ARRAYS = {
    "<f4": Float32Array, "|u1": Uint8Array, "|i1": Int8Array, "<u4": Uint32Array,
    "<i4": Int32Array, "<i2": Int16Array,
  };

  const isThere = (child) => child !== null && child !== undefined && child !== false;
  function el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter(isThere));
    return made;
  }
  const number = (value, digits = 2) =>
    Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−");
  // As `share` in words.py writes it.
  const share = (d) => {
    if (Number.isNaN(d)) return "not counted";
    if (d <= 0) return "never";
    if (d >= 0.0995) return (100 * d).toFixed(0) + " %";
    if (d >= 0.00995) return (100 * d).toFixed(1) + " %";
    return "1 in " + Number((1 / d).toPrecision(2)).toLocaleString("en");
  };
  const wordsOf = (query) =>
    [...query.toLowerCase().matchAll(/"([^"]+)"|[^\s"]+/g)].map((match) => match[1] || match[0]);

  start().catch((error) => {
    place.replaceChildren(el("p", { class: "waiting", role: "alert" },
      "The map could not be read (" + error.message + "); tables/points.csv holds all of its points."));
  });

  async function start() {
    const index = await unpack("index");
    const n = index.points;
    const data = {};
    await Promise.all(Object.entries(index.columns).map(async ([name, kind]) => {
      data[name] = new ARRAYS[kind](await bytesOf("column-" + name));
    }));
    const { x, y } = data;
    const pages = new Map();
    const page = (number_) => {
      if (!pages.has(number_)) pages.set(number_, unpack(number_));
      return pages.get(number_);
    };
    const nameOf = (at) =>
      index.names[at] || index.sources[data.source[at]].name + "/" + data.idx[at] + (data.sign[at] < 0 ? "-" : "");
    const saidOf = (at) => index.said[at] || "";

    // ------------------------------------------------------------------ what points are coloured by
    const colourings = [{ key: "source", label: "source" }];
    if (data.density.some((d) => d > 0)) {
      colourings.push({ key: "density", label: "density", values: data.density.map((d) => (d > 0 ? Math.log10(d) : NaN)), text: (v) => share(10 ** v) });
    }
    index.judged.forEach((label, at) => {
      colourings.push({ key: "score" + at, label: "score, " + label, values: data["score" + at], text: (v) => number(v, 1) });
    });
    for (const one of colourings) {
      if (!one.values) continue;
      let low = Infinity, high = -Infinity;
      for (const value of one.values) if (value === value) { if (value < low) low = value; if (value > high) high = value; }
      Object.assign(one, { low, high: high > low ? high : low + 1e-9, constant: !(high > low) });
    }
    let colouring = colourings[0];
    const shown = index.sources.map(() => true);
    let found = null; // points that the search finds
    let isFound = null;
    let chosen = -1;
    let hovered = -1;

    // ------------------------------------------------------------------ the frame
    const canvas = el("canvas", { tabindex: "0", role: "application", "aria-label": "Map of " + n.toLocaleString("en") + " units; arrow keys move, plus and minus zoom, 0 shows all, Enter opens the unit at the centre" });
    const tip = el("div", { class: "tip", hidden: true });
    const tools = el("div", { class: "tools" },
      el("button", { type: "button", "aria-label": "Zoom in", onclick: () => zoomAt(1.6) }, "+"),
      el("button", { type: "button", "aria-label": "Zoom out", onclick: () => zoomAt(1 / 1.6) }, "−"),
      el("button", { type: "button", "aria-label": "Show all", onclick: () => { fit(); draw(); } }, "⌂"));
    const plot = el("div", { class: "plot" }, canvas, tip, tools);
    const legend = el("div", { class: "legend" });
    const search = el("input", { type: "search", placeholder: "words of a description, or features/12", oninput: () => look() });
    const select = el("select", { onchange: () => { colouring = colourings.find((one) => one.key === select.value); recolour(); draw(); } },
      ...colourings.map((one) => el("option", { value: one.key }, one.label)));
    const status = el("p", { class: "found", role: "status" });
    const results = el("ul", { class: "results" });
    const detail = el("div", { class: "detail-of-map" },
      el("p", { class: "note" }, "Choose a point, or a unit that the search finds: its contexts and its nearest units open here."));
    place.replaceChildren(el("div", { class: "atlas" },
      el("div", { class: "controls" },
        el("label", { class: "wide" }, "Search", search),
        el("label", {}, "Colour by", select)),
      el("div", { class: "panel-of-map" }, plot, legend),
      el("div", { class: "panel-of-map" }, status, results, detail)));

    // ------------------------------------------------------------------ the view
    let minX = Infinity, maxX = -Infinity, minY = Infinity, maxY = -Infinity;
    for (let at = 0; at < n; at++) {
      if (x[at] < minX) minX = x[at];
      if (x[at] > maxX) maxX = x[at];
      if (y[at] < minY) minY = y[at];
      if (y[at] > maxY) maxY = y[at];
    }
    const view = { x: 0, y: 0, scale: 1 }; // centre in the map's units, CSS pixels a unit
    let width = 0, height = 0, dpr = 1, least = 1;
    const fit = () => {
      view.x = (minX + maxX) / 2;
      view.y = (minY + maxY) / 2;
      view.scale = least;
    };
    const toX = (at) => (x[at] - view.x) * view.scale + width / 2;
    const toY = (at) => (view.y - y[at]) * view.scale + height / 2;
    function zoomAt(factor, px = width / 2, py = height / 2) {
      const next = Math.min(Math.max(view.scale * factor, least / 4), least * 4000);
      const mx = view.x + (px - width / 2) / view.scale, my = view.y - (py - height / 2) / view.scale;
      view.scale = next;
      view.x = mx - (px - width / 2) / next;
      view.y = my + (py - height / 2) / next;
      draw();
    }
    function resize() {
      const box = canvas.getBoundingClientRect();
      if (!box.width || !box.height) return;
      const first = !width;
      const all = view.scale === least;
      dpr = Math.min(window.devicePixelRatio || 1, 2);
      width = box.width;
      height = box.height;
      canvas.width = Math.round(width * dpr);
      canvas.height = Math.round(height * dpr);
      least = 0.92 * Math.min(width / Math.max(maxX - minX, 1e-6), height / Math.max(maxY - minY, 1e-6));
      if (first || all) fit();
      draw();
    }

    // ------------------------------------------------------------------ colours
    const probe = document.createElement("span");
    probe.hidden = true;
    place.append(probe);
    const one = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgb = (css) => {
      probe.style.color = css;
      one.clearRect(0, 0, 1, 1);
      one.fillStyle = getComputedStyle(probe).color;
      one.fillRect(0, 0, 1, 1);
      return [...one.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const word = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
    const text = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
    const colours = new Uint32Array(n);
    let ink = [0, 0, 0], unknown = [128, 128, 128], ring = [0, 0, 255], ramp = RAMP.light;
    const onRamp = (share_) => {
      const at = Math.min(Math.max(share_, 0), 1) * (ramp.length - 1);
      const low = Math.min(Math.floor(at), ramp.length - 2);
      return ramp[low].map((c, k) => Math.round(c + (at - low) * (ramp[low + 1][k] - c)));
    };
    function recolour() {
      ink = rgb("var(--ink)");
      unknown = rgb("var(--rule)");
      ring = rgb("var(--warn)");
      const paper = rgb("var(--paper)");
      ramp = paper[0] + paper[1] + paper[2] > 384 ? RAMP.light : RAMP.dark;
      const ofSource = index.sources.map((source) => word(rgb(source.colour)));
      if (!colouring.values) {
        for (let at = 0; at < n; at++) colours[at] = ofSource[data.source[at]];
      } else {
        const steps = Array.from({ length: 256 }, (_, at) => word(onRamp(at / 255)));
        const none = word(unknown), span = colouring.high - colouring.low;
        for (let at = 0; at < n; at++) {
          const value = colouring.values[at];
          colours[at] = value === value ? steps[Math.round(255 * (value - colouring.low) / span)] : none;
        }
      }
      // Unknown ones first, beneath the others; then those of the run, on top.
      order.sort((a, b) => rank(a) - rank(b) || a - b);
      describeColours();
    }
    const rank = (at) => (colouring.values && colouring.values[at] !== colouring.values[at] ? 0 : 2) + data.held[at];
    const order = Uint32Array.from({ length: n }, (_, at) => at);

    function describeColours() {
      const parts = index.sources.map((source, at) => {
        const count = data.source.reduce((sum, s) => sum + (s === at), 0);
        const dot = el("i", { class: "dot", "aria-hidden": "true" });
        dot.style.background = colouring.values ? "transparent" : source.colour;
        const box = el("input", { type: "checkbox", onchange: (event) => { shown[at] = event.target.checked; draw(); look(); } });
        box.checked = shown[at];
        return el("label", {}, box, colouring.values ? null : dot, source.several + " (" + count.toLocaleString("en") + ")");
      });
      if (colouring.values) {
        const bar = el("span", { class: "ramp", role: "img", "aria-label": "from low to high" });
        bar.style.background = "linear-gradient(to right, " + ramp.map(text).join(", ") + ")";
        parts.push(el("span", {}, colouring.text(colouring.low)), bar, el("span", {}, colouring.text(colouring.high)));
        const dot = el("i", { class: "dot", "aria-hidden": "true" });
        dot.style.background = "var(--rule)";
        parts.push(el("span", {}, dot, colouring.key === "density" ? "not counted, or never" : "no score"));
      }
      legend.replaceChildren(...parts);
    }

    // ------------------------------------------------------------------ drawing
    let waiting = false;
    function draw() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; paint(); });
    }
    const visibleAt = (at) => shown[data.source[at]] && (!isFound || isFound[at]);
    function paint() {
      if (!width) return;
      const context = canvas.getContext("2d");
      const w = canvas.width, h = canvas.height;
      const s = view.scale * dpr, ox = w / 2 - view.x * s, oy = h / 2 + view.y * s;
      const inside = [];
      let count = 0;
      for (let k = 0; k < n; k++) {
        const at = order[k];
        if (!shown[data.source[at]]) continue;
        const px = x[at] * s + ox, py = oy - y[at] * s;
        if (px < -9 || py < -9 || px > w + 9 || py > h + 9) continue;
        if (++count <= ROUND) inside.push(at);
      }
      const many = count > ROUND;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, w, h);
      const zoomed = Math.min(3, Math.max(1, Math.sqrt(view.scale / least)));
      if (many) {
        // Squares of whole pixels, written straight into the picture: 100,000 in a few milliseconds.
        const picture = context.createImageData(w, h);
        const pixels = new Uint32Array(picture.data.buffer);
        const between = Math.sqrt((w * h) / count); // from one point to the next, about
        const small = Math.round(Math.min(Math.max(0.35 * between, dpr), 4 * dpr)), large = small + Math.ceil(dpr);
        for (let k = 0; k < n; k++) {
          const at = order[k];
          if (!shown[data.source[at]]) continue;
          const faint = isFound && !isFound[at];
          const size = data.held[at] && !faint ? large : small;
          const left = Math.round(x[at] * s + ox - size / 2), top = Math.round(oy - y[at] * s - size / 2);
          if (left < 0 || top < 0 || left + size > w || top + size > h) continue;
          const colour = faint ? (colours[at] & 0x00ffffff) | (0x38 << 24) : colours[at];
          for (let row = top; row < top + size; row++) pixels.fill(colour, row * w + left, row * w + left + size);
        }
        context.putImageData(picture, 0, 0);
      } else {
        for (const at of inside) {
          const radius = (data.held[at] ? 3.6 : 2.2) * dpr * zoomed;
          const colour = colours[at];
          context.globalAlpha = isFound && !isFound[at] ? 0.2 : 1;
          context.fillStyle = `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
          context.beginPath();
          context.arc(x[at] * s + ox, oy - y[at] * s, radius, 0, 7);
          context.fill();
        }
        context.globalAlpha = 1;
      }
      const mark = (at, radius, colour, thick) => {
        context.beginPath();
        context.arc(x[at] * s + ox, oy - y[at] * s, radius * dpr, 0, 7);
        context.lineWidth = thick * dpr;
        context.strokeStyle = text(colour);
        context.stroke();
      };
      if (found && found.length <= 2000) for (const at of found) if (shown[data.source[at]]) mark(at, 6, ink, 1.2);
      if (chosen >= 0) {
        for (const near of nearOf(chosen)) mark(near, 7, ring, 1.2);
        mark(chosen, 9, ring, 3);
      }
      if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
        context.strokeStyle = text(ink);
        context.lineWidth = dpr;
        context.beginPath();
        for (const [dx, dy] of [[8, 0], [0, 8]]) {
          context.moveTo(w / 2 - dx * dpr, h / 2 - dy * dpr);
          context.lineTo(w / 2 + dx * dpr, h / 2 + dy * dpr);
        }
        context.stroke();
      }
    }
    const nearOf = (at) => Array.from(data.near.subarray(at * index.neighbours, (at + 1) * index.neighbours));
    function pointAt(px, py, reach) {
      let best = -1, least_ = reach * reach;
      for (let at = 0; at < n; at++) {
        if (!visibleAt(at)) continue;
        const dx = toX(at) - px, dy = toY(at) - py, distance = dx * dx + dy * dy;
        if (distance < least_) { least_ = distance; best = at; }
      }
      return best;
    }

    // ------------------------------------------------------------------ mouse, touch and keys
    const pointers = new Map();
    let moved = 0, gap = 0;
    const local = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const spread = () => {
      const [a, b] = [...pointers.values()];
      return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, local(event));
      if (pointers.size === 1) moved = 0;
      if (pointers.size === 2) [gap] = spread();
    });
    canvas.addEventListener("pointermove", (event) => {
      const [px, py] = local(event);
      const last = pointers.get(event.pointerId);
      if (!last) { if (event.pointerType === "mouse") hover(px, py); return; }
      pointers.set(event.pointerId, [px, py]);
      if (pointers.size === 2) {
        const [next, mx, my] = spread();
        if (gap > 0) zoomAt(next / gap, mx, my);
        gap = next;
        moved = 99;
        return;
      }
      moved += Math.abs(px - last[0]) + Math.abs(py - last[1]);
      if (moved < 5) return;
      canvas.classList.add("dragged");
      tip.hidden = true;
      view.x -= (px - last[0]) / view.scale;
      view.y += (py - last[1]) / view.scale;
      draw();
    });
    const lifted = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      canvas.classList.remove("dragged");
      if (event.type === "pointerup" && !pointers.size && moved < 5) {
        const at = pointAt(...local(event), event.pointerType === "touch" ? 2 * NEAR_PX : NEAR_PX);
        if (at >= 0) open(at, false);
      }
    };
    canvas.addEventListener("pointerup", lifted);
    canvas.addEventListener("pointercancel", lifted);
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // else the page scrolls
      event.preventDefault();
      zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), ...local(event));
    }, { passive: false });
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, draw);
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = 60 / view.scale;
      const keys = {
        ArrowLeft: () => { view.x -= step; }, ArrowRight: () => { view.x += step; },
        ArrowUp: () => { view.y += step; }, ArrowDown: () => { view.y -= step; },
        "+": () => zoomAt(1.4), "=": () => zoomAt(1.4), "-": () => zoomAt(1 / 1.4), 0: fit,
        Enter: () => {
          const at = pointAt(width / 2, height / 2, Infinity);
          if (at >= 0) open(at, true);
        },
        Escape: () => canvas.blur(),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
      draw();
    });
    function hover(px, py) {
      const at = pointAt(px, py, NEAR_PX);
      tip.hidden = at < 0;
      canvas.style.cursor = at < 0 ? "" : "pointer";
      if (at < 0) { hovered = -1; return; }
      if (at !== hovered) tip.textContent = nameOf(at) + (saidOf(at) ? ": " + saidOf(at) : "");
      hovered = at;
      tip.style.left = Math.min(px + 12, Math.max(0, width - tip.offsetWidth - 4)) + "px";
      tip.style.top = Math.min(py + 14, Math.max(0, height - tip.offsetHeight - 4)) + "px";
    }

    // ------------------------------------------------------------------ search and the opened unit
    const line = (at, figure) => el("li", {},
      el("button", { type: "button", onclick: () => { centre(at); open(at, true); } }, nameOf(at)),
      el("span", {}, figure), el("span", {}, saidOf(at)));
    const described = Object.keys(index.said).map(Number);
    function look() {
      const words = wordsOf(search.value);
      if (!words.length) {
        found = isFound = null;
        status.textContent = described.length.toLocaleString("en") + " of " + n.toLocaleString("en") + " units have a description";
        results.replaceChildren();
        draw();
        return;
      }
      found = [];
      isFound = new Uint8Array(n);
      const isName = words.length === 1 && /^[\w.-]+\/\d+-?$/.test(words[0]);
      for (let at = 0; at < n; at++) {
        if (!shown[data.source[at]]) continue;
        const said = saidOf(at).toLowerCase();
        const hit = (said && words.every((one_) => said.includes(one_))) || (isName && nameOf(at).toLowerCase() === words[0]);
        if (hit) { found.push(at); isFound[at] = 1; }
      }
      const rest = found.length > LISTED ? "; the first " + LISTED + " are listed" : "";
      status.textContent = found.length.toLocaleString("en") + (found.length === 1 ? " unit" : " units") + " found" + rest;
      results.replaceChildren(...found.slice(0, LISTED).map((at) => line(at, "")));
      draw();
    }
    function centre(at) {
      view.x = x[at];
      view.y = y[at];
      view.scale = Math.max(view.scale, Math.min(least * 6, least * 4000));
      draw();
    }
    const addressOf = (at) => "#unit=" + encodeURIComponent(index.run + "/" + nameOf(at));
    async function open(at, focus) {
      chosen = at;
      history.replaceState(null, "", addressOf(at));
      draw();
      const facts = [["source", index.sources[data.source[at]].several], ["fires on", share(data.density[at])]];
      index.judged.forEach((label, k) => {
        const score = data["score" + k][at];
        if (score === score) facts.push(["score, " + label, number(score, 2)]);
      });
      const heading = el("h3", { tabindex: "-1" }, nameOf(at));
      const contexts = el("ul", { class: "contexts" });
      const held = data.page[at] >= 0;
      const near = el("ul", { class: "near" }, ...nearOf(at).map((other, k) =>
        line(other, number(data.cosine[at * index.neighbours + k] / index.cosines))));
      detail.replaceChildren(...[heading,
        el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
        el("p", {}, saidOf(at) || "No description."),
        index.report && data.held[at] ? el("p", {}, el("a", { href: index.report + addressOf(at) }, "Open in the report")) : null,
        held ? el("h4", {}, "Strongest contexts") : el("p", { class: "note" }, data.held[at]
          ? "No context of it is in this file; `autointerp show` shows what the run has."
          : "The run has not harvested this unit, so it holds no contexts of it."),
        held ? contexts : null,
        el("h4", {}, "Nearest by cosine"), near].filter(isThere));
      if (focus) heading.focus({ preventScroll: false });
      if (!held) return;
      const place_ = data.page[at];
      const own = (await page(Math.floor(place_ / index.size)))[place_ % index.size];
      if (chosen !== at) return;
      contexts.append(...own.map(([tokens, levels, peak]) => el("li", {}, el("span", { class: "text", dir: "auto" },
        ...tokens.map((token, k) => {
          const level = parseInt(levels[k], 11);
          const made = el("span", { class: "token" + (level ? " fires" : "") + (k === peak ? " focus" : "") }, token);
          if (level) made.style.setProperty("--level", level);
          return made;
        })))));
      detail.dataset.opened = nameOf(at);
    }
    function fromAddress() {
      const match = /^#unit=(.*)$/.exec(location.hash);
      if (!match) return;
      let name;
      try { name = decodeURIComponent(match[1]); } catch { return; }
      for (let at = 0; at < n; at++) {
        if (index.run + "/" + nameOf(at) === name) { centre(at); open(at, false); return; }
      }
    }
    addEventListener("hashchange", fromAddress);

    // ------------------------------------------------------------------ begin
    const themed = () => { recolour(); draw(); };
    new MutationObserver(themed).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
    new ResizeObserver(resize).observe(canvas);
    resize();
    recolour();
    look();
    fromAddress();
    requestAnimationFrame(() => { place.dataset.ready = "true"; });
  }
})();
