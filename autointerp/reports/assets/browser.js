/* The list of units. All text reaches the page as text nodes (Preact never parses HTML here). */
(() => {
  "use strict";
  const { h, render } = preact;
  const { useState, useEffect, useMemo, useRef } = preactHooks;
  const ROWS = 100;
  const place = document.getElementById("browser");
  if (!place) return;

  async function unpack(name) {
    const text = document.getElementById("packed-" + name).textContent;
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
  const share = (d) => (d === null ? "–" : d >= 0.001 ? (100 * d).toPrecision(2) + " %" : (1e6 * d).toPrecision(2) + " / M");
  const compare = (a, b) =>
    a === b ? 0 : a === null || a === "" ? 1 : b === null || b === "" ? -1 : a < b ? -1 : 1;

  function Select({ label, value, choices, onChange }) {
    return h("label", null, label,
      h("select", { value, onChange: (e) => onChange(e.target.value) },
        choices.map(([key, text]) => h("option", { key, value: key }, text))));
  }

  function Tokens({ context: [tokens, levels, focus, kind, seen] }) {
    return h("li", null,
      h("span", { class: "where" }, (kind ? "interval " + kind : "strongest") + (seen ? "" : ", not shown to raters")),
      tokens.map((token, at) => {
        const level = parseInt(levels[at], 11);
        const name = "token" + (level ? " fires" : "") + (at === focus ? " focus" : "");
        return h("span", {
          key: at, class: name,
          style: level ? `--level:${level}` : undefined,
          "data-level": level || undefined,
          title: level ? level + " of 10" : undefined,
        }, token);
      }));
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

  function Detail({ index, at, onClose }) {
    const [detail, setDetail] = useState(null);
    const [numbers, setNumbers] = useState(false);
    const units = index.units;
    useEffect(() => {
      setDetail(null);
      let wanted = true;
      if (at !== null && units.page[at] >= 0)
        page(units.page[at]).then((found) => wanted && setDetail(found[units.place[at]]));
      return () => { wanted = false; };
    }, [at]);
    if (at === null) return h("div", { class: "detail" }, h("p", { class: "found" }, "Choose a unit to see where it fires and what was said of it."));
    const facts = [
      ["source", units.source[at]],
      ...(index.runs.length > 1 ? [["run", index.runs[units.run[at]]]] : []),
      ["fires on", share(units.density[at])],
      ["peak", number(units.peak[at])],
      ...(units.outcome[at] !== "eligible" ? [["left out", units.outcome[at]]] : []),
    ];
    const top = detail && topTokens(detail.contexts);
    return h("div", { class: "detail" + (numbers ? " numbers" : ""), "aria-live": "polite" },
      h("button", { class: "back", onClick: onClose }, "Back to the list"),
      h("h3", null, units.name[at]),
      h("dl", { class: "facts" }, facts.map(([k, v]) => h("div", { key: k }, h("dt", null, k), h("dd", null, v)))),
      detail === null
        ? h("p", { class: "found" }, units.page[at] >= 0 ? "Loading…" : units.outcome[at] === "eligible"
            ? "Its contexts are not in this file." : "It was never shown to a rater.")
        : [
          detail.note && h("p", { class: "found" }, "This unit: " + detail.note),
          detail.ratings.length > 0 && h("h4", null, "Ratings"),
          detail.ratings.map(([judgement, repeat, status, score, description, rationale]) =>
            h("div", { class: "rating", key: judgement + "/" + repeat },
              h("p", null, h("strong", null, status === "ok" ? score : status), description && " · " + description),
              rationale && h("p", null, rationale),
              h("p", { class: "who" }, index.judgements[judgement].label + (repeat ? `, repeat ${repeat + 1}` : "")))),
          top.length > 0 && [
            h("h4", null, "Tokens at its strongest peaks"),
            h("p", { class: "facts" }, top.map(([token, n]) => h("span", { key: token }, h("span", { class: "token" }, `“${token}”`), ` × ${n}`))),
          ],
          detail.contexts.length > 0 && [
            h("h4", null, "Contexts ", h("button", { "aria-pressed": String(numbers), onClick: () => setNumbers(!numbers) }, "numbers")),
            h("ol", { class: "contexts" }, detail.contexts.map((context, i) => h(Tokens, { key: i, context }))),
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
    const [score, setScore] = useState("");
    const [status, setStatus] = useState("");
    const [sort, setSort] = useState({ by: "", down: false });
    const [rows, setRows] = useState(ROWS);
    const [chosen, setChosen] = useState(null);
    const search = useRef(null);
    const list = useRef(null);
    const j = Number(judgement);

    const haystack = useMemo(() => units.name.map((name, at) =>
      (name + " " + units.token[at] + " " + units.said.map((one) => one[at]).join(" ")).toLowerCase()), []);
    const statusOf = (at) => (units.outcome[at] !== "eligible" ? units.outcome[at] : units.outcomes[j][at] || "not asked");
    const statuses = useMemo(() => [...new Set(units.name.map((_, at) => statusOf(at)))].sort(), [j]);
    const found = useMemo(() => {
      const words = query.toLowerCase().split(/\s+/).filter(Boolean);
      const kept = [];
      for (let at = 0; at < size; at++) {
        if (source && units.source[at] !== source) continue;
        if (status && statusOf(at) !== status) continue;
        const value = units.scores[j][at];
        if (score && (value === null || Math.floor(value + 0.5) !== Number(score))) continue;
        if (!words.every((word) => haystack[at].includes(word))) continue;
        kept.push(at);
      }
      const column = { unit: units.name, score: units.scores[j], said: units.said[j], density: units.density }[sort.by];
      if (column) {
        const side = sort.down ? -1 : 1;
        kept.sort((a, b) => {
          const missing = (v) => v === null || v === "";
          if (missing(column[a]) || missing(column[b])) return compare(column[a], column[b]) || a - b;
          return side * compare(column[a], column[b]) || a - b;
        });
      }
      return kept;
    }, [query, source, judgement, score, status, sort]);
    useEffect(() => { setRows(ROWS); }, [query, source, judgement, score, status, sort]);

    const open = (at) => {
      setChosen(at);
      history.replaceState(null, "", at === null ? "#units" : "#unit=" + encodeURIComponent(index.runs[units.run[at]] + "/" + units.name[at]));
    };
    useEffect(() => {
      const fromAddress = () => {
        const match = /^#unit=(.*)$/.exec(location.hash);
        if (!match) return;
        const wanted = decodeURIComponent(match[1]);
        const at = units.name.findIndex((name, i) => index.runs[units.run[i]] + "/" + name === wanted);
        if (at >= 0) { setChosen(at); place.scrollIntoView(); }
      };
      const key = (event) => {
        if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
          event.preventDefault();
          search.current.focus();
        }
      };
      fromAddress();
      addEventListener("hashchange", fromAddress);
      addEventListener("keydown", key);
      return () => { removeEventListener("hashchange", fromAddress); removeEventListener("keydown", key); };
    }, []);
    const step = (event) => {
      const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
      if (!by || !event.target.closest("tbody")) return;
      event.preventDefault();
      const next = found[Math.min(Math.max(found.indexOf(chosen) + by, 0), Math.min(rows, found.length) - 1)];
      open(next);
      const button = list.current.querySelector(`[data-at="${next}"]`);
      if (button) button.focus();
    };
    const narrow = () => matchMedia("(max-width: 60rem)").matches;
    const choose = (at) => {
      open(at);
      if (narrow()) requestAnimationFrame(() => place.querySelector(".detail").scrollIntoView());
    };
    const header = (by, text, name) =>
      h("th", { scope: "col", class: name, "aria-sort": sort.by === by ? (sort.down ? "descending" : "ascending") : "none" },
        h("button", { onClick: () => setSort({ by, down: sort.by === by ? !sort.down : by === "score" || by === "density" }) },
          text, sort.by === by ? (sort.down ? " ↓" : " ↑") : ""));

    return h("div", null,
      h("div", { class: "controls", role: "search" },
        h("label", { class: "wide" }, "search ( / )",
          h("input", { ref: search, type: "search", placeholder: "name, description or token", value: query, onInput: (e) => setQuery(e.target.value) })),
        h(Select, { label: "source", value: source, onChange: setSource, choices: [["", "all"], ...sources.map((s) => [s, s])] }),
        index.judgements.length > 1 && h(Select, {
          label: "scores by", value: judgement, onChange: (v) => { setJudgement(v); setScore(""); setStatus(""); },
          choices: index.judgements.map((one, at) => [String(at), one.label]) }),
        h(Select, { label: "score", value: score, onChange: setScore,
          choices: [["", "all"], ...index.judgements[j].levels.map(([s, text]) => [String(s), text ? `${s} ${text.split(":")[0]}` : String(s)])] }),
        h(Select, { label: "status", value: status, onChange: setStatus, choices: [["", "all"], ...statuses.map((s) => [s, s])] })),
      h("p", { class: "found", role: "status" }, `${found.length.toLocaleString("en")} of ${size.toLocaleString("en")} units`),
      h("div", { class: "split" },
        h("div", { class: "list", onKeyDown: step, ref: list },
          h("table", null,
            h("thead", null, h("tr", null, header("unit", "unit"), header("score", "score"), header("said", "description"), header("density", "fires on", "optional"))),
            h("tbody", null, found.slice(0, rows).map((at) =>
              h("tr", { key: at, "aria-selected": String(at === chosen) },
                h("td", null, h("button", { class: "open", "data-at": at, onClick: () => choose(at) },
                  h("span", { class: "dot", style: `background:${index.colours[units.source[at]]}` }), units.name[at],
                  index.runs.length > 1 && h("small", null, " " + index.runs[units.run[at]]))),
                h("td", null, units.scores[j][at] === null ? statusOf(at) : number(units.scores[j][at])),
                h("td", { class: "said" }, units.said[j][at]),
                h("td", { class: "optional" }, share(units.density[at])))))),
          rows < found.length && h("button", { class: "more", onClick: () => setRows(rows + ROWS) },
            `Show ${Math.min(ROWS, found.length - rows)} more`)),
        h(Detail, { index, at: chosen, onClose: () => { list.current.scrollIntoView(); } })));
  }

  if (typeof DecompressionStream === "undefined") {
    place.textContent = "This browser is too old to unpack the list of units; tables/units.csv holds all of them.";
    return;
  }
  unpack("index").then((index) => {
    place.replaceChildren();
    render(h(App, { index }), place);
    place.dataset.ready = "true";
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
