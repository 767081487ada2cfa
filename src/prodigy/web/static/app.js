// What the pages do by themselves: times that count on, one stream for a few pages, the keys of a table.
(() => {
  "use strict";
  const root = document.documentElement;

  // Light or dark: as the system has it, unless the user chose.
  const chosen = localStorage.getItem("theme");
  if (chosen) root.dataset.theme = chosen;

  const duration = (seconds) => {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
    if (s < 86400) return `${Math.floor(s / 3600)} h${s % 3600 >= 60 ? ` ${Math.floor((s % 3600) / 60)} min` : ""}`;
    return `${Math.floor(s / 86400)} d${s % 86400 >= 3600 ? ` ${Math.floor((s % 86400) / 3600)} h` : ""}`;
  };
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const tick = () => {
    const now = Date.now() / 1000;
    for (const one of document.querySelectorAll("time[data-since]")) put(one, duration(now - one.dataset.since));
    for (const one of document.querySelectorAll("time[data-until]")) put(one, duration(one.dataset.until - now));
  };
  const localise = (within) => {
    for (const one of within.querySelectorAll("time[data-moment]")) {
      const at = new Date(one.dateTime), today = new Date().toDateString() === at.toDateString();
      put(one, today ? at.toLocaleTimeString() : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
      one.title = at.toLocaleString();
    }
  };

  // A browser opens six connections to a server at the most, and each stream keeps one: four pages have a stream, and
  // the others ask now and then. A page in the background has none.
  const STREAMS = 4, ASK_MS = 3000;
  const live = () => document.getElementById("live");
  let letGo = null, asking = null;
  const listen = async () => {
    const element = live();
    if (!element || letGo || document.hidden) return;
    if (!navigator.locks) { htmx.trigger(element, "listen"); letGo = () => {}; return; }
    for (let n = 0; n < STREAMS; n++) {
      const got = await new Promise((resolve) => {
        navigator.locks.request(`prodigy-stream-${n}`, { ifAvailable: true }, (lock) => {
          if (!lock) { resolve(false); return null; }
          return new Promise((release) => { letGo = release; resolve(true); });
        });
      });
      if (got) { clearInterval(asking); asking = null; htmx.trigger(element, "listen"); return; }
    }
    if (!asking) asking = setInterval(() => { if (!document.hidden) { htmx.trigger(element, "ask"); listen(); } }, ASK_MS);
  };

  const state = (text) => { const at = document.getElementById("connection"); if (at) { at.textContent = text; at.hidden = !text; } };

  document.addEventListener("DOMContentLoaded", () => {
    localise(document);
    tick();
    setInterval(tick, 1000);
    const toggle = document.getElementById("theme");
    toggle?.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    });
  });
  document.addEventListener("htmx:after:process", listen, { once: true });  // before that, nobody hears it
  document.addEventListener("visibilitychange", () => { if (document.hidden) { letGo?.(); letGo = null; } else listen(); });
  document.addEventListener("htmx:after:swap", () => { localise(document); tick(); });
  document.addEventListener("htmx:sse:after:connection", () => state(""));
  document.addEventListener("htmx:sse:error", () => state("The server does not answer: trying again…"));
  const again = () => { letGo?.(); letGo = null; setTimeout(listen, 1000); };
  document.addEventListener("htmx:sse:close", again);
  document.addEventListener("htmx:error", (event) => {
    if (!live()) return;
    state("The server does not answer: trying again…");
    if (event.target === live() && !live()._htmx?.sse) again();  // a stream that never began does not begin by itself
  });
  document.addEventListener("htmx:after:request", (event) => { if (event.detail?.ctx?.response?.status === 200) state(""); });

  // All boxes of a table at once, and how many are ticked.
  const count = (form) => {
    const boxes = [...form.querySelectorAll("input[name=item][type=checkbox]")];
    const number = boxes.filter((one) => one.checked).length;
    for (const at of form.querySelectorAll("[data-selected]")) put(at, String(number));
    for (const button of form.querySelectorAll("button[data-needs-selection]")) button.disabled = number === 0;
  };
  document.addEventListener("change", (event) => {
    const box = event.target;
    const form = box instanceof HTMLInputElement && box.type === "checkbox" ? box.closest("form") : null;
    if (!form) return;
    if (box.matches("[data-all]")) for (const one of form.querySelectorAll("input[name=item]")) one.checked = box.checked;
    count(form);
  });
  document.addEventListener("htmx:after:swap", () => { for (const form of document.querySelectorAll("main form")) count(form); });

  // Output is followed as long as its end is in sight.
  let follows = true;
  const toEnd = () => { const said = document.getElementById("said"); if (said && follows) said.scrollTop = said.scrollHeight; };
  document.addEventListener("scroll", ({ target }) => {
    if (target.id === "said") follows = target.scrollTop + target.clientHeight > target.scrollHeight - 40;
  }, true);
  document.addEventListener("htmx:after:swap", toEnd);
  document.addEventListener("DOMContentLoaded", toEnd);

  // A bar of the picture leads to its item.
  document.addEventListener("click", (event) => {
    const bar = event.target.closest?.("rect[data-go]");
    if (bar) location.href = bar.closest("svg").dataset.base + bar.dataset.go.split("/").map(encodeURIComponent).join("/");
  });

  // `/` goes to the search, as in many tools.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) return;
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  });
})();
