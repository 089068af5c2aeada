/* The list of units. All text reaches the page as text nodes (Preact never parses HTML here). */
(() => {
  "use strict";
  const { h, render } = preact;
  const { useState, useEffect, useMemo, useRef } = preactHooks;
  const ROWS = 100;
  const BESIDE = 7; // tokens on either side of the peak, until a context is opened
  const place = document.getElementById("browser");
  if (!place) return;

  // Where the page carries a part of the units, all are in scripts beside it, which hand over what
  // they hold: a page that is opened from a disk may read nothing else. Without them: the part.
  const folder = place.dataset.beside;
  let files = Boolean(folder);
  const handed = new Map();
  if (files) window.autointerpUnits = (name, text) => handed.set(name, text);
  const read = (name) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = () => {
      script.remove();
      const text = handed.get(name);
      handed.delete(name);
      if (text === undefined) reject(new Error(script.src));
      else resolve(text);
    };
    script.onerror = () => reject(new Error(script.src));
    script.src = folder + "/" + name + ".js";
    document.head.append(script);
  });
  async function unpack(name) {
    const text = files ? await read(String(name)) : document.getElementById("packed-" + name).textContent;
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }
  const pages = new Map();
  const page = (number) => {
    if (!pages.has(number)) pages.set(number, unpack(number));
    return pages.get(number);
  };

  const number = (value, digits = 2) =>
    value === null || value === undefined ? "–" : Number.isInteger(value) ? String(value) : value.toFixed(digits);
  // As `share` in words.py writes it.
  const share = (d) => {
    if (d === null) return "–";
    if (d <= 0) return "never";
    if (d >= 0.0995) return (100 * d).toFixed(0) + " %";
    if (d >= 0.00995) return (100 * d).toFixed(1) + " %";
    return "1 in " + Number((1 / d).toPrecision(2)).toLocaleString("en");
  };
  const DENSITIES = [
    ["10 % and more", (d) => d >= 0.1],
    ["1 to 10 %", (d) => d >= 0.01 && d < 0.1],
    ["1 in 1,000 to 1 %", (d) => d >= 0.001 && d < 0.01],
    ["1 in 10,000 to 1 in 1,000", (d) => d >= 0.0001 && d < 0.001],
    ["rarer than 1 in 10,000", (d) => d < 0.0001],
  ];
  const compare = (a, b) =>
    a === b ? 0 : a === null || a === "" ? 1 : b === null || b === "" ? -1 : a < b ? -1 : 1;
  const wordsOf = (query) =>
    [...query.toLowerCase().matchAll(/"([^"]+)"|[^\s"]+/g)].map((match) => match[1] || match[0]);

  function Select({ label, value, choices, onChange, name }) {
    return h("label", { class: name }, label,
      h("select", { value, onChange: (e) => onChange(e.target.value) },
        choices.map(([key, text]) => h("option", { key, value: key }, text))));
  }

  // Which tokens the words of the search touch: a word may run over several tokens.
  function touched(tokens, words) {
    const hit = new Array(tokens.length).fill(false);
    if (!words.length) return hit;
    const text = tokens.join("").toLowerCase();
    const ends = [];
    let end = 0;
    for (const token of tokens) ends.push((end += token.length));
    for (const word of words) {
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        for (let i = ends.findIndex((e) => e > at); i >= 0 && i < ends.length; i++) {
          hit[i] = true;
          if (ends[i] >= at + word.length) break;
        }
      }
    }
    return hit;
  }

  function Context({ context: [tokens, levels, focus, kind, seen], words, all }) {
    const [own, setOwn] = useState(all);
    const from = own ? 0 : Math.max(0, focus - BESIDE);
    const to = own ? tokens.length : Math.min(tokens.length, focus + BESIDE + 1);
    const hit = touched(tokens, words);
    const cut = tokens.length > 2 * BESIDE + 1 || focus > BESIDE || tokens.length - focus - 1 > BESIDE;
    return h("li", null,
      h("span", { class: "where" }, kind ? "interval " + kind : "strongest", !seen && h("br"), !seen && h("span", { title: "No rater saw this context" }, "not shown")),
      h("span", { class: "text", dir: "auto" },
        from > 0 && "… ",
        tokens.slice(from, to).map((token, i) => {
          const at = from + i;
          const level = parseInt(levels[at], 11);
          return h(at === focus ? "strong" : "span", {
            key: at,
            class: "token" + (level ? " fires" : "") + (at === focus ? " focus" : "") + (hit[at] ? " hit" : ""),
            style: level ? `--level:${level}` : undefined,
            "data-level": level || undefined,
            title: level ? `${level} of 10` : undefined,
          }, token);
        }),
        to < tokens.length && " …"),
      cut ? h("button", {
        type: "button", "aria-expanded": String(own), onClick: () => setOwn(!own),
        title: own ? "Show the tokens beside the peak alone" : `Show all ${tokens.length} tokens that are stored`,
      }, own ? "less" : "whole") : h("span"));
  }

  function Intervals({ counts, peak }) {
    if (!counts.length) return null;
    const most = Math.log10(1 + Math.max(...counts));
    return [
      h("h4", null, "Tokens by interval of activation (bars on a log scale)"),
      h("div", { class: "bars" }, counts.map((n, at) => [
        h("span", null, `${((at * peak) / counts.length).toPrecision(2)} – ${(((at + 1) * peak) / counts.length).toPrecision(2)}`),
        h("meter", { min: 0, max: most || 1, value: Math.log10(1 + n), "aria-label": `interval ${at + 1}` }),
        h("span", null, Math.round(n).toLocaleString("en")),
      ])),
    ];
  }

  function topTokens(contexts) {
    const counts = new Map();
    for (const [tokens, , focus, kind] of contexts) if (!kind) counts.set(tokens[focus], (counts.get(tokens[focus]) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5);
  }

  function Tokens({ tokens }) {
    return h("ul", { class: "tokens" }, tokens.map(([token, n], at) =>
      h("li", { key: at }, h("span", { class: "token" }, `“${token}”`), n ? ` × ${n}` : "")));
  }

  function Rating({ judgement, rating: [, repeat, status, score, description, rationale] }) {
    const given = judgement.levels.find(([level]) => level === score);
    const scale = judgement.levels.length > 1 && judgement.levels.length <= 10 ? judgement.levels : [];
    return h("div", { class: "rating" },
      h("p", { class: "who" }, judgement.label + (repeat ? `, repeat ${repeat + 1}` : "")),
      h("p", { class: "given" },
        status === "ok" && scale.length > 0 && h("span", { class: "pips", "aria-hidden": "true" },
          scale.map(([level]) => h("i", { key: level, class: level <= score ? "on" : "" }))),
        status === "ok" ? `${number(score)}${given && given[1] ? " " + given[1].split(":")[0] : ""}` : status),
      description && h("p", null, description),
      rationale && h("p", { class: "note" }, rationale));
  }

  const addressOf = (index, at) =>
    "#unit=" + encodeURIComponent(index.runs[index.units.run[at]] + "/" + index.units.name[at]);

  function Detail({ index, at, words, step, onClose, heading }) {
    const [detail, setDetail] = useState(null);
    const [numbers, setNumbers] = useState(false);
    const [all, setAll] = useState(false);
    const units = index.units;
    useEffect(() => {
      setDetail(null);
      setAll(false);
      let wanted = true;
      if (at !== null && units.page[at] >= 0)
        page(units.page[at]).then((found) => wanted && setDetail(found[units.place[at]]))
          .catch(() => {
            pages.delete(units.page[at]);
            if (wanted) setDetail({ contexts: [], ratings: [], intervals: [], effects: [], note: `the file ${folder}/${units.page[at]}.js cannot be read.` });
          });
      return () => { wanted = false; };
    }, [at]);
    if (at === null) return h("div", { class: "detail" },
      h("p", { class: "found" }, "Choose a unit to see where it fires and what was said of it."),
      h("p", { class: "keys" }, h("kbd", null, "/"), " searches, ", h("kbd", null, "↑"), " ", h("kbd", null, "↓"),
        " go from unit to unit, ", h("kbd", null, "Enter"), " goes into one, ", h("kbd", null, "Esc"), " goes back."));
    const facts = [
      ["source", units.source[at]],
      ...(index.runs.length > 1 ? [["run", index.runs[units.run[at]]]] : []),
      ["fires on", units.density[at] === null ? "not known" : share(units.density[at]) + (units.density[at] >= 0.00995 ? " of tokens" : units.density[at] > 0 ? " tokens" : "")],
      ["peak", number(units.peak[at])],
      ...(units.outcome[at] !== "eligible" ? [["left out", units.outcome[at]]] : []),
    ];
    const top = detail && topTokens(detail.contexts);
    const unasked = index.judgements.filter((_, j) =>
      index.judged_in[j] === index.runs[units.run[at]] && units.scores[j][at] === null && !units.outcomes[j][at]);
    return h("div", { class: "detail" + (numbers ? " numbers" : "") },
      h("div", { class: "bar" },
        h("button", { type: "button", class: "back", onClick: onClose }, "Back to the list"),
        h("button", { type: "button", onClick: () => step(-1) }, "Previous"),
        h("button", { type: "button", onClick: () => step(1) }, "Next"),
        h("a", { href: addressOf(index, at) }, "Link to this unit")),
      h("h3", { ref: heading, tabIndex: -1 }, h("span", { class: "dot", style: `background:${index.colours[units.source[at]]}` }), units.name[at]),
      h("dl", { class: "facts" }, facts.map(([k, v]) => h("div", { key: k }, h("dt", null, k), h("dd", null, v)))),
      detail === null
        ? h("p", { class: "found" }, units.page[at] >= 0 ? "Loading…" : units.outcome[at] === "eligible"
            ? "Its contexts are not in this file." : "It was never shown to a rater.")
        : [
          detail.note && h("p", { class: "note" }, "This unit: " + detail.note),
          detail.ratings.length > 0 && h("h4", null, "What was said of it"),
          h("div", { class: "ratings" }, detail.ratings.map((rating) =>
            h(Rating, { key: rating[0] + "/" + rating[1], judgement: index.judgements[rating[0]], rating }))),
          unasked.length > 0 && detail.ratings.length > 0 && h("p", { class: "note" }, "Not asked: " + unasked.map((one) => one.label).join(", ") + "."),
          detail.effects.length > 0 && h("div", { class: "effects" },
            ["Raises the logits of", "Lowers the logits of"].map((title, side) => detail.effects[side] && detail.effects[side].length > 0 &&
              h("div", { key: title }, h("h4", null, title), h(Tokens, { tokens: detail.effects[side].map((token) => [token]) })))),
          top.length > 0 && [h("h4", null, "Tokens at its strongest peaks"), h(Tokens, { tokens: top })],
          detail.contexts.length > 0 && [
            h("h4", null, "Contexts"),
            h("div", { class: "bar" },
              h("span", { class: "scale" }, "weak", [1, 4, 7, 10].map((level) => h("i", { key: level, style: `--level:${level}` })), "strong"),
              h("button", { type: "button", "aria-pressed": String(numbers), onClick: () => setNumbers(!numbers) }, "Numbers"),
              h("button", { type: "button", "aria-pressed": String(all), onClick: () => setAll(!all) }, "Whole windows")),
            h("ol", { class: "contexts" }, detail.contexts.map((context, i) => h(Context, { key: at + "/" + i + "/" + all, context, words, all }))),
          ],
          h(Intervals, { counts: detail.intervals, peak: units.peak[at] || 0 }),
        ]);
  }

  function App({ index }) {
    const units = index.units;
    const size = units.name.length;
    const sources = useMemo(() => [...new Set(units.source)], []);
    const [query, setQuery] = useState("");
    const [source, setSource] = useState("");
    const [judgement, setJudgement] = useState("0");
    const [low, setLow] = useState("");
    const [high, setHigh] = useState("");
    const [density, setDensity] = useState("");
    const [status, setStatus] = useState("");
    const [sort, setSort] = useState({ by: "", down: false });
    const [rows, setRows] = useState(ROWS);
    const [chosen, setChosen] = useState(null);
    const [texts, setTexts] = useState(null); // of contexts, by unit, once somebody searches
    const search = useRef(null);
    const list = useRef(null);
    const heading = useRef(null);
    const wanted = useRef(false);
    const j = Number(judgement);
    const levels = index.judgements[j].levels;
    const others = index.judgements.map((_, at) => at).filter((at) => at !== j && index.judgements[at].levels.length);

    const haystack = useMemo(() => units.name.map((name, at) =>
      (name + " " + units.token[at] + " " + units.said.map((one) => one[at]).join(" ")).toLowerCase()), []);
    const words = useMemo(() => wordsOf(query), [query]);
    useEffect(() => {
      if (!words.length || texts || wanted.current || files) return;
      wanted.current = true;
      const numbers = [...new Set(units.page)].filter((one) => one >= 0);
      Promise.all(numbers.map(page)).then((found) => {
        const by = new Map(numbers.map((one, at) => [one, found[at]]));
        setTexts(units.page.map((one, at) => one < 0 ? "" :
          by.get(one)[units.place[at]].contexts.map((context) => context[0].join("")).join("\n").toLowerCase()));
      });
    }, [words]);
    const statusOf = (at) => (units.outcome[at] !== "eligible" ? units.outcome[at] : units.outcomes[j][at] || "not asked");
    const statuses = useMemo(() => [...new Set(units.name.map((_, at) => statusOf(at)))].sort(), [j]);
    const spread = useMemo(() => units.name.map((_, at) => {
      const given = index.judgements.map((one, k) => one.levels.length ? units.scores[k][at] : null).filter((s) => s !== null);
      return given.length > 1 ? Math.max(...given) - Math.min(...given) : null;
    }), []);
    const found = useMemo(() => {
      const dense = DENSITIES[Number(density)];
      const kept = [];
      for (let at = 0; at < size; at++) {
        if (source && units.source[at] !== source) continue;
        if (status && statusOf(at) !== status) continue;
        const d = units.density[at];
        if (density === "?" ? d !== null : density && (d === null || !dense[1](d))) continue;
        const value = units.scores[j][at];
        const nearest = value === null ? null : Math.floor(value + 0.5);
        if ((low || high) && (nearest === null || (low && nearest < Number(low)) || (high && nearest > Number(high)))) continue;
        if (!words.every((word) => haystack[at].includes(word) || (texts && texts[at].includes(word)))) continue;
        kept.push(at);
      }
      const column = { unit: null, score: units.scores[j], others: spread, said: units.said[j], density: units.density }[sort.by];
      if (column) {
        const side = sort.down ? -1 : 1;
        const missing = (v) => v === null || v === "";
        kept.sort((a, b) => {
          if (missing(column[a]) || missing(column[b])) return compare(column[a], column[b]) || a - b;
          return side * compare(column[a], column[b]) || a - b;
        });
      } else if (sort.by && sort.down) kept.reverse();
      return kept;
    }, [words, texts, source, judgement, low, high, density, status, sort]);
    useEffect(() => { setRows(ROWS); }, [words, source, judgement, low, high, density, status, sort]);

    const open = (at) => {
      setChosen(at);
      history.replaceState(null, "", at === null ? "#units" : addressOf(index, at));
    };
    const buttonOf = (at) => list.current.querySelector(`[data-at="${at}"]`);
    useEffect(() => {
      const fromAddress = () => {
        const match = /^#unit=(.*)$/.exec(location.hash);
        if (!match) return;
        let name;
        try { name = decodeURIComponent(match[1]); } catch { return; }
        const at = units.name.findIndex((one, i) => index.runs[units.run[i]] + "/" + one === name);
        if (at >= 0) { setChosen(at); place.scrollIntoView(); }
      };
      const key = (event) => {
        if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
          event.preventDefault();
          search.current.focus();
        }
      };
      fromAddress();
      addEventListener("hashchange", fromAddress);
      addEventListener("keydown", key);
      return () => { removeEventListener("hashchange", fromAddress); removeEventListener("keydown", key); };
    }, []);

    const narrow = () => matchMedia("(max-width: 60rem)").matches;
    const goTo = (place_, focus) => {
      if (!found.length) return;
      const next = found[Math.min(Math.max(place_, 0), found.length - 1)];
      if (place_ >= rows) setRows(Math.ceil((place_ + 1) / ROWS) * ROWS);
      open(next);
      requestAnimationFrame(() => {
        const button = buttonOf(next);
        if (!button || narrow()) return;
        if (focus) button.focus();
        button.scrollIntoView({ block: "nearest" });
      });
    };
    const step = (by) => goTo(found.indexOf(chosen) + by, false);
    const back = () => {
      const at = chosen;
      open(null);
      requestAnimationFrame(() => { const button = buttonOf(at); if (button) button.focus(); });
    };
    const choose = (at, inside) => {
      open(at);
      if (inside || narrow()) requestAnimationFrame(() => requestAnimationFrame(() => {
        if (narrow()) place.querySelector(".split").scrollIntoView();
        if (heading.current) heading.current.focus({ preventScroll: narrow() });
      }));
    };
    const inList = (event) => {
      if (event.key === "Escape" && chosen !== null) { event.preventDefault(); back(); return; }
      if (!event.target.closest("tbody") || event.ctrlKey || event.metaKey || event.altKey) return;
      const here = found.indexOf(Number(event.target.dataset.at ?? chosen));
      const to = { ArrowDown: here + 1, j: here + 1, ArrowUp: here - 1, k: here - 1, PageDown: here + 10, PageUp: here - 10,
        Home: 0, End: Math.min(rows, found.length) - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      goTo(Math.min(to, Math.max(rows, 1) - 1 + (event.key === "ArrowDown" ? 1 : 0)), true);
    };
    const inDetail = (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      if (narrow()) { back(); return; }
      const button = buttonOf(chosen);
      if (button) button.focus();
      else back();
    };
    const header = (by, text, name, title) =>
      h("th", { scope: "col", class: name, "aria-sort": sort.by === by ? (sort.down ? "descending" : "ascending") : "none" },
        h("button", { type: "button", title, onClick: () => setSort({ by, down: sort.by === by ? !sort.down : by !== "unit" && by !== "said" }) },
          text, sort.by === by ? (sort.down ? " ↓" : " ↑") : ""));
    const shown = found.slice(0, rows);
    const stop = shown.includes(chosen) ? chosen : shown[0]; // Tab stops at one row, arrows go on
    const changed = query || source || low || high || density || status;
    const clear = () => { setQuery(""); setSource(""); setLow(""); setHigh(""); setDensity(""); setStatus(""); };
    const scored = levels.map(([s, text]) => [String(s), text ? `${s} ${text.split(":")[0]}` : String(s)]);

    return h("div", null,
      h("div", { class: "controls", role: "search", "aria-label": "Units" },
        h("label", { class: "wide" }, "search ( / )",
          h("input", { ref: search, type: "search", placeholder: files ? "name, token or description" : "name, description, or text of a context", value: query, onInput: (e) => setQuery(e.target.value) })),
        h(Select, { label: "source", value: source, onChange: setSource, choices: [["", "all"], ...sources.map((s) => [s, s])] }),
        index.judgements.length > 1 && h(Select, {
          label: "rater", value: judgement, onChange: (v) => { setJudgement(v); setLow(""); setHigh(""); setStatus(""); },
          choices: index.judgements.map((one, at) => [String(at), one.label]) }),
        levels.length > 0 && h(Select, { label: "score from", name: "short", value: low, onChange: setLow, choices: [["", "any"], ...scored] }),
        levels.length > 0 && h(Select, { label: "score to", name: "short", value: high, onChange: setHigh, choices: [["", "any"], ...scored] }),
        h(Select, { label: "fires on", value: density, onChange: setDensity,
          choices: [["", "any share"], ...DENSITIES.map(([text], at) => [String(at), text]), ["?", "not known"]] }),
        h(Select, { label: "status", value: status, onChange: setStatus, choices: [["", "all"], ...statuses.map((s) => [s, s])] })),
      h("p", { class: "found" },
        h("span", { role: "status" }, `${found.length.toLocaleString("en")} of ${size.toLocaleString("en")} unit${size === 1 ? "" : "s"}`
          + (!words.length || texts ? "" : files ? "; names, tokens and descriptions are searched, contexts are not" : "; reading the contexts…")
          + (folder && !files ? `; the folder ${folder} is not beside this page, which carries these alone` : "")),
        changed && h("button", { type: "button", onClick: clear }, "Clear filters")),
      h("div", { class: "split" + (chosen === null ? "" : " opened") },
        h("div", { class: "list", onKeyDown: inList, ref: list, role: "group", "aria-label": "Units found" },
          h("table", null,
            h("thead", null, h("tr", null, header("unit", "unit", "unit"), header("score", "score", "score"),
              others.length > 0 && header("others", "others", "others", "Scores by " + others.map((k) => index.judgements[k].label).join("; ") + ". Sorts by how far all scores lie apart."),
              header("density", "fires on", "optional"), header("said", "description", "said"))),
            h("tbody", null, shown.map((at) =>
              h("tr", { key: at, class: at === chosen ? "chosen" : undefined,
                onClick: (event) => { if (!event.target.closest("button")) choose(at, false); } },
                h("td", null, h("button", { type: "button", class: "open", "data-at": at, tabIndex: at === stop ? 0 : -1, "aria-current": at === chosen ? "true" : undefined,
                  onClick: (event) => choose(at, event.detail === 0) },
                  h("span", { class: "dot", style: `background:${index.colours[units.source[at]]}` }), units.name[at],
                  index.runs.length > 1 && h("small", null, " " + index.runs[units.run[at]]))),
                h("td", { class: "score" }, units.scores[j][at] === null ? statusOf(at) : number(units.scores[j][at])),
                others.length > 0 && h("td", { class: "score" }, others.map((k) => number(units.scores[k][at])).join(" · ")),
                h("td", { class: "optional nb" }, share(units.density[at])),
                h("td", { class: "said" }, units.said[j][at] || units.said.map((one) => one[at]).find(Boolean) || ""))))),
          found.length === 0 && h("p", { class: "found" }, "No unit fits; clear a filter."),
          rows < found.length && h("button", { type: "button", class: "more", onClick: () => setRows(rows + ROWS) },
            `Show ${Math.min(ROWS, found.length - rows)} more`)),
        h("div", { onKeyDown: inDetail }, h(Detail, { index, at: chosen, words, step, onClose: back, heading }))));
  }

  if (typeof DecompressionStream === "undefined") {
    place.textContent = "This browser is too old to unpack the list of units; tables/units.csv holds all of them.";
    return;
  }
  unpack("index").catch(() => {
    files = false;
    return unpack("index");
  }).then((index) => {
    place.replaceChildren();
    render(h(App, { index }), place);
    place.dataset.ready = "true";
  });
})();
