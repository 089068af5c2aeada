/* The page's frame: its theme, where one is in it, and which boxes the keyboard must stop at. */
(() => {
  "use strict";
  const root = document.documentElement;
  const contents = document.getElementById("contents");

  const THEMES = ["auto", "light", "dark"];
  const kept = {
    get() { try { return localStorage.getItem("autointerp-theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("autointerp-theme", theme); } catch { /* a file may keep nothing */ } },
  };
  const button = document.createElement("button");
  button.type = "button";
  let theme = "auto";
  const show = (next) => {
    theme = next;
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    show(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    kept.set(theme);
  });
  show(THEMES.includes(kept.get()) ? kept.get() : "auto");
  contents.append(button);

  const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
  const seen = new Map();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) seen.set(entry.target.id, entry.isIntersecting);
    const here = [...links.keys()].find((id) => seen.get(id));
    for (const [id, link] of links) {
      if (id === here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-60px 0px -40% 0px" });
  document.querySelectorAll("main > section").forEach((section) => observer.observe(section));

  // A box that need not scroll is no stop of the keyboard.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const fits = target.scrollWidth <= target.clientWidth + 1;
      target.classList.toggle("fits", fits);
      if (fits) target.removeAttribute("tabindex");
      else target.setAttribute("tabindex", "0");
    }
  });
  document.querySelectorAll(".scroll").forEach((box) => sizes.observe(box));

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
