"use strict";
// Sorting, switching, and readouts under the pointer and by keyboard. Without it, the page shows the same results.
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// The theme: the system's, until the button is used; remembered where the browser allows it for a file.
const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const stored = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
  set: (value) => { try { localStorage.setItem("theme", value); } catch { /* a file may store nothing */ } } };
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
const showTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
if (["light", "dark"].includes(stored.get())) document.documentElement.dataset.theme = stored.get();
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  stored.set(document.documentElement.dataset.theme);
  showTheme();
});
prefersDark.addEventListener("change", showTheme);
theme.hidden = false;
showTheme();

// The part of the page that is visible.
const links = new Map(all(".bar nav a").map((link) => [link.hash.slice(1), link]));
const visible = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) visible[entry.isIntersecting ? "add" : "delete"](entry.target.id);
  const current = [...links.keys()].find((id) => visible.has(id));
  for (const [id, link] of links) {
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "-15% 0px -70% 0px" });
for (const id of links.keys()) observer.observe(document.getElementById(id));

// A link to something within a closed part opens it.
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
};
addEventListener("hashchange", reveal);
reveal();

// Tables that a heading sorts: numbers from the largest, then from the smallest; texts the other way round.
for (const table of all("table.sortable")) {
  const headings = all("thead th", table);
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const body = table.tBodies[0];
      const value = (row) => row.cells[column].dataset.value;
      const isNumber = [...body.rows].every((row) => value(row) === "" || Number.isFinite(Number(value(row))));
      const first = isNumber && column > 0 ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      const compare = (a, b) => {
        if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
        return sign * (isNumber ? value(a) - value(b) : value(a).localeCompare(value(b)));
      };
      for (const any of headings) any.setAttribute("aria-sort", any === heading ? order : "none");
      body.append(...[...body.rows].sort(compare));
    });
  });
}

// Readouts: what the element under the pointer, or the one that the arrow keys reach, says.
for (const figure of all("[data-readouts]")) {
  const output = figure.querySelector("output");
  const reader = figure.querySelector(".reader");
  const columns = Number(reader.dataset.columns ?? 1);
  let at = -1;
  const read = (element) => {
    for (const other of all(".read", figure)) other.classList.remove("read");
    element.classList.add("read");
    output.textContent = element.dataset.say;
  };
  figure.addEventListener("pointerover", (event) => {
    const element = event.target.closest("[data-say]");
    if (!element) return;
    at = all("[data-say]", figure).indexOf(element);
    read(element);
  });
  reader.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    if (!(event.key in steps) || event.target !== reader) return;
    event.preventDefault();
    const elements = all("[data-say]", figure);
    at = at < 0 ? 0 : Math.min(Math.max(at + steps[event.key], 0), elements.length - 1);
    read(elements[at]);
    elements[at].scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

// Lines: which measure and which runs are shown, and the values of an epoch.
for (const figure of all("figure.lines")) {
  const charts = data.charts[figure.dataset.chart];
  const panels = all(".panel", figure);
  const shown = new Set(all("[data-toggle]", figure).map((box) => box.dataset.toggle));
  let current = panels[0].dataset.panel;
  let epoch = null;

  const epochsOf = (chart) => [...new Set(Object.values(chart.values).flatMap((of) => Object.keys(of).map(Number)))].sort((a, b) => a - b);
  const update = () => {
    const chart = charts[current];
    const epochs = epochsOf(chart);
    const last = epochs[epochs.length - 1];
    const now = epoch === null ? last : epoch;
    const says = [];
    for (const value of all("[data-value-of]", figure)) {
      const number = chart.values[value.dataset.valueOf]?.[now];
      value.textContent = number === undefined ? "–" : number.toFixed(chart.digits).replace("-", "−");
      if (number !== undefined && shown.has(value.dataset.valueOf)) says.push(`${value.dataset.valueOf} ${value.textContent}`);
    }
    figure.querySelector("[data-when]").textContent = epoch === null ? `last epoch (${last})` : `epoch ${now}`;
    for (const panel of panels) {
      panel.hidden = panel.dataset.panel !== current;
      const plot = panel.querySelector(".plot");
      const cursor = panel.querySelector(".cursor");
      cursor.hidden = epoch === null;
      cursor.style.left = `${(100 * (now - chart.low)) / (chart.high - chart.low)}%`;
      plot.setAttribute("aria-valuenow", now);
      plot.setAttribute("aria-valuetext", `epoch ${now}: ${says.join(", ")}`);
      for (const line of all("g[data-run]", panel)) line.classList.toggle("off", !shown.has(line.dataset.run));
    }
    for (const item of all("li[data-run]", figure)) item.classList.toggle("off", !shown.has(item.dataset.run));
    for (const button of all("[data-show]", figure)) button.setAttribute("aria-pressed", button.dataset.show === current);
  };

  for (const button of all("[data-show]", figure)) {
    button.addEventListener("click", () => { current = button.dataset.show; epoch = null; update(); });
  }
  for (const box of all("[data-toggle]", figure)) {
    box.addEventListener("change", () => { shown[box.checked ? "add" : "delete"](box.dataset.toggle); update(); });
  }
  const setAll = (checked) => {
    for (const box of all("[data-toggle]", figure)) {
      box.checked = checked;
      shown[checked ? "add" : "delete"](box.dataset.toggle);
    }
    update();
  };
  figure.querySelector("[data-all]").addEventListener("click", () => setAll(true));
  figure.querySelector("[data-none]").addEventListener("click", () => setAll(false));
  for (const item of all("li[data-run]", figure)) {
    const highlight = (on) => {
      for (const line of all("g[data-run]", figure)) line.classList.toggle("dim", on && line.dataset.run !== item.dataset.run);
    };
    item.addEventListener("pointerenter", () => highlight(true));
    item.addEventListener("pointerleave", () => highlight(false));
  }
  for (const plot of all(".plot", figure)) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const chart = charts[current];
      const under = chart.low + ((event.clientX - box.left) / box.width) * (chart.high - chart.low);
      epoch = epochsOf(chart).reduce((best, one) => (Math.abs(one - under) < Math.abs(best - under) ? one : best));
      update();
    });
    plot.addEventListener("pointerleave", () => { epoch = null; update(); });
    plot.addEventListener("keydown", (event) => {
      const epochs = epochsOf(charts[current]);
      const at = epochs.indexOf(epoch ?? epochs[epochs.length - 1]);
      const to = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: epochs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      epoch = epochs[Math.min(Math.max(to, 0), epochs.length - 1)];
      update();
    });
    plot.addEventListener("blur", () => { epoch = null; update(); });
  }
  update();
}

// Confusion matrices: that of a run, or the difference of two.
for (const figure of all("figure.confusion")) {
  const { classes, runs } = data.confusion[figure.dataset.suite];
  const first = figure.querySelector("[data-first]");
  const second = figure.querySelector("[data-second]");
  const table = figure.querySelector("table");
  const numbered = !table.classList.contains("tiny");
  const shares = (counts) => counts.map((row) => {
    const total = Math.max(row.reduce((sum, count) => sum + count, 0), 1);
    return row.map((count) => count / total);
  });
  const percent = (share, digits) => (100 * share).toFixed(digits).replace("-", "−");
  const signed = (share, digits) => {
    const text = percent(share, digits);
    return /^−?0(\.0+)?$/.test(text) ? text.replace("−", "") : share > 0 ? `+${text}` : text;
  };
  const show = () => {
    const counts = runs[first.value];
    const one = shares(counts);
    const other = second.value && shares(runs[second.value]);
    const cells = all("[data-say]", table);
    const most = other ? Math.max(...one.flatMap((row, i) => row.map((share, j) => Math.abs(share - other[i][j]))), 1e-9) : 1;
    one.forEach((row, i) => row.forEach((share, j) => {
      const cell = cells[i * classes.length + j];
      const value = other ? share - other[i][j] : share;
      cell.className = value < 0 ? "less" : "more";
      cell.style.setProperty("--v", (Math.abs(value) / most).toFixed(3));
      if (numbered) cell.textContent = other ? signed(value, 1) : percent(value, 0);
      const names = `${classes[i]} predicted as ${classes[j]}`;
      cell.dataset.say = other
        ? `${names}: ${percent(share, 1)} % with ${first.value}, ${percent(other[i][j], 1)} % with ${second.value}: ${signed(value, 1)} points`
        : `${names}: ${counts[i][j].toLocaleString("en")} (${percent(share, 1)} %)`;
    }));
    table.caption.textContent = other
      ? `${first.value} minus ${second.value}: difference of the shares, percentage points`
      : "Images of the class in the row that are predicted as the class in the column, % of the row";
  };
  first.addEventListener("change", show);
  second.addEventListener("change", show);
}
