"use strict";

/* The theme is set at once, so that the page does not flash; all else waits for the page. */
const THEME = "lungfield-theme";

function storedTheme() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // a browser may refuse storage to a file
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    // then it holds until the page is closed
  }
}

if (storedTheme()) document.documentElement.dataset.theme = storedTheme();

document.addEventListener("DOMContentLoaded", () => {
  const PAGE_SIZE = 60;
  const STRUCTURES = [["right_lung", "Right lung"], ["left_lung", "Left lung"], ["total", "Total"]];
  const $ = (id) => document.getElementById(id);

  const { outputs, columns, main, rows, base, mediaType, meanings } = JSON.parse($("data").textContent);
  const thumbnails = JSON.parse($("thumbnails").textContent);
  const place = new Map(columns.map((column, index) => [column.name, index]));
  const listed = columns.filter((column) => !outputs.includes(column.name));
  const rank = (column) => (main.includes(column.name) ? main.indexOf(column.name) : main.length);
  listed.sort((a, b) => rank(a) - rank(b)); // the main ones first, the others as the tables have them

  /* ---- rows ---- */

  const value = (row, name) => (place.has(name) ? row[place.get(name)] : null);
  const lacks = (content) => content === null || content === "" || content.length === 0;
  const has = (row, name) => !lacks(value(row, name));
  const flagsOf = (row) => value(row, "flags") ?? [];
  const link = (row, name) => (value(row, name) ? base + value(row, name) : null);

  const formats = new Map(columns.map((column) => [column.name, new Intl.NumberFormat("en", {
    minimumFractionDigits: column.digits ?? 0,
    maximumFractionDigits: column.digits ?? 6,
  })]));

  function shown(row, column) {
    const content = value(row, column.name);
    if (lacks(content)) return "–";
    if (Array.isArray(content)) return content.join(" ");
    return typeof content === "number" ? formats.get(column.name).format(content) : String(content);
  }

  const heading = (column) => (column.unit ? `${column.title} (${column.unit})` : column.title);
  const isNumber = new Map(columns.map((column) => [
    column.name, rows.some((row) => typeof value(row, column.name) === "number"),
  ]));

  function thumbnail(row) {
    const embedded = thumbnails[row.index];
    return embedded ? `data:${mediaType};base64,${embedded}` : link(row, "overlay");
  }

  /* ---- small help with elements; text is only ever set as text ---- */

  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, content] of Object.entries(properties)) {
      if (name in made) made[name] = content;
      else made.setAttribute(name, content);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const option = (content, text) => element("option", { value: content }, text);
  const count = (number) => number.toLocaleString("en");
  const files = (number) => `${count(number)} ${number === 1 ? "file" : "files"}`;

  function badges(row) {
    return flagsOf(row).map((flag) => element("span", { className: "flag", title: meanings.flag[flag] ?? "" }, flag));
  }

  function statusBadge(row) {
    const status = value(row, "status");
    return element("span", { className: `status ${status}` }, status);
  }

  function picture(row, source, className) {
    const name = value(row, "file");
    if (!source) return element("span", { className: `${className} missing` }, "No picture");
    const image = element("img", {
      className, alt: `Radiograph ${name} with the outlines of the lungs`,
      src: source,
      loading: source.startsWith("data:") ? "eager" : "lazy",
    });
    image.addEventListener("error", () => image.replaceWith(picture(row, null, className)), { once: true });
    return image;
  }

  /* ---- what is chosen ---- */

  const state = { status: "", flag: "", reason: "", ratio: "", search: "", sort: "", reversed: false, view: "gallery", page: 0 };
  let found = rows;

  /* In adults, a ratio over 0.50 on a PA view counts as enlarged. */
  const RATIO = "cardiothoracic_ratio";
  const ratios = {
    over: ["over 0.50", (row) => has(row, RATIO) && value(row, RATIO) > 0.5],
    upTo: ["0.50 or less", (row) => has(row, RATIO) && value(row, RATIO) <= 0.5],
    none: ["none, with a reason", (row) => has(row, "ctr_reason")],
  };

  function matches(row) {
    const flags = flagsOf(row);
    return (!state.status || value(row, "status") === state.status)
      && (!state.reason || value(row, "reason_code") === state.reason)
      && (!state.ratio || ratios[state.ratio][1](row))
      && (!state.flag || (state.flag === "*" ? flags.length > 0 : state.flag === "-" ? flags.length === 0 : flags.includes(state.flag)))
      && (!state.search || row.name.includes(state.search));
  }

  const collator = new Intl.Collator("en", { numeric: true });

  /* Rows without a value stay at the end, whichever way the others are sorted. */
  function byColumn(name, sign) {
    return (a, b) => {
      const [left, right] = [a, b].map((row) => value(row, name));
      if (lacks(left) || lacks(right)) return lacks(left) - lacks(right);
      return sign * (typeof left === "number" ? left - right : collator.compare(left, right));
    };
  }

  function choose() {
    found = rows.filter(matches);
    if (state.sort) found.sort(byColumn(state.sort, state.reversed ? -1 : 1));
    else if (state.reversed) found.reverse();
  }

  function change(changes, { keepPage = false } = {}) {
    Object.assign(state, changes);
    if (!keepPage) state.page = 0;
    choose();
    show();
  }

  /* ---- the gallery and the table ---- */

  function figureLine(row) {
    const names = ["dice", "confidence", RATIO].filter((name) => value(row, name) !== null);
    if (state.sort && !names.includes(state.sort) && !["file", "status", "flags", "reason_code", "reason"].includes(state.sort)) names.push(state.sort);
    return names.map((name) => {
      const column = columns[place.get(name)];
      return element("span", { className: "figure" }, `${column.title} `, element("b", {}, shown(row, column)), column.unit ? ` ${column.unit}` : "");
    });
  }

  /* A long name breaks after its separators, if it has to break. */
  function breakable(name) {
    return name.split(/(?<=[_./-])/).flatMap((part) => [part, element("wbr")]);
  }

  function cardName(file) {
    const cut = file.lastIndexOf("/") + 1;
    return element("span", { className: "name", title: file },
      element("span", { className: "quiet" }, ...breakable(file.slice(0, cut))), ...breakable(file.slice(cut)));
  }

  function galleryCard(row, index) {
    const ended = value(row, "status") === "done";
    const source = thumbnail(row);
    return element("li", {},
      element("button", { type: "button", className: "card", "data-index": index },
        source || ended ? picture(row, source, "thumbnail")
          : element("span", { className: "thumbnail missing" }, statusBadge(row), element("span", {}, value(row, "reason") || "")),
        cardName(value(row, "file")),
        element("span", { className: "line" }, ...figureLine(row), ...badges(row))));
  }

  function gallery(some, start) {
    return element("ul", { className: "gallery" }, ...some.map((row, index) => galleryCard(row, start + index)));
  }

  function tableHeading(column) {
    const sorted = state.sort === column.name;
    return element("th", {
      scope: "col", className: isNumber.get(column.name) ? "number" : "",
      "aria-sort": sorted ? (state.reversed ? "descending" : "ascending") : "none",
    }, element("button", { type: "button", className: "plain", "data-sort": column.name },
      heading(column), element("span", { className: "arrow", "aria-hidden": "true" }, sorted ? (state.reversed ? " ↓" : " ↑") : "")));
  }

  function tableCell(row, column, index) {
    switch (column.name) {
      case "file":
        return element("th", { scope: "row" }, element("button", { type: "button", className: "plain name", "data-index": index }, value(row, "file")));
      case "status":
        return element("td", {}, statusBadge(row));
      case "flags":
        return element("td", {}, ...badges(row));
      default:
        return element("td", { className: isNumber.get(column.name) ? "number" : "" }, shown(row, column));
    }
  }

  function table(some, start) {
    const wanted = $("all-columns").checked ? listed : listed.filter((column) => main.includes(column.name) && found.some((row) => has(row, column.name)));
    return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of files" },
      element("table", {},
        element("thead", {}, element("tr", {}, ...wanted.map(tableHeading))),
        element("tbody", {}, ...some.map((row, index) => element("tr", {}, ...wanted.map((column) => tableCell(row, column, start + index)))))));
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const start = state.page * PAGE_SIZE;
    const some = found.slice(start, start + PAGE_SIZE);
    $("found").textContent = found.length === rows.length ? files(rows.length) : `${count(found.length)} of ${files(rows.length)}`;
    if (!found.length) $("results").replaceChildren(element("p", { className: "nothing" }, "No file matches. ", element("button", { type: "button", "data-clear": "" }, "Show all files")));
    else $("results").replaceChildren(state.view === "table" ? table(some, start) : gallery(some, start));
    $("page").textContent = `Page ${count(state.page + 1)} of ${count(pages)}`;
    $("pages").hidden = pages === 1;
    for (const button of $("pages").querySelectorAll("button")) {
      button.disabled = ["first", "previous"].includes(button.dataset.page) ? state.page === 0 : state.page === pages - 1;
    }
    showControls();
  }

  function showControls() {
    for (const name of ["flag", "reason", "ratio", "sort"]) $(name).value = state[name];
    if ($("search").value.toLowerCase() !== state.search) $("search").value = state.search;
    for (const name of ["status", "view"]) {
      for (const input of $(name).querySelectorAll("input")) input.checked = input.value === state[name];
    }
    $("direction").setAttribute("aria-pressed", state.reversed);
    $("all-columns-label").hidden = state.view !== "table";
  }

  function turnPage(where) {
    const last = Math.ceil(found.length / PAGE_SIZE) - 1;
    state.page = { first: 0, previous: state.page - 1, next: state.page + 1, last }[where];
    show();
    $("files").focus({ preventScroll: true });
    $("files").scrollIntoView();
  }

  /* ---- one file, large ---- */

  let current = 0;

  const pairs = (entries) => element("dl", { className: "facts" }, ...entries.map(([name, ...content]) => element("div", {}, element("dt", {}, name), element("dd", {}, ...content))));

  function measurements(row) {
    const suffixes = [...new Set(listed.flatMap((column) => STRUCTURES
      .filter(([name]) => column.name.startsWith(`${name}_`)).map(([name]) => column.name.slice(name.length + 1))))]
      .filter((suffix) => STRUCTURES.some(([name]) => value(row, `${name}_${suffix}`) !== null));
    if (!suffixes.length) return null;
    const title = (suffix) => {
      const column = columns[place.get(STRUCTURES.map(([name]) => `${name}_${suffix}`).find((name) => place.has(name)))];
      const word = suffix.replace(/_(mm2|mm|px)$/, "").replaceAll("_", " ");
      return (word[0].toUpperCase() + word.slice(1)) + (column.unit ? ` (${column.unit})` : "");
    };
    const cell = (name) => element("td", { className: "number" }, place.has(name) ? shown(row, columns[place.get(name)]) : "–");
    return element("table", {},
      element("thead", {}, element("tr", {}, element("td", {}), ...STRUCTURES.map(([name, text]) => element("th", { scope: "col", className: "number" },
        element("span", { className: `swatch ${name.replace("_", "-")}` }), ` ${text}`)))),
      element("tbody", {}, ...suffixes.map((suffix) => element("tr", {}, element("th", { scope: "row" }, title(suffix)), ...STRUCTURES.map(([name]) => cell(`${name}_${suffix}`))))));
  }

  function rest(row) {
    const apart = new Set(["file", "status", "reason", "reason_code", "flags", "warnings"]);
    return listed.filter((column) => !apart.has(column.name) && !STRUCTURES.some(([name]) => column.name.startsWith(`${name}_`))
      && shown(row, column) !== "–").map((column) => [column.title, `${shown(row, column)}${column.unit ? ` ${column.unit}` : ""}`]);
  }

  function links(row) {
    const written = outputs.filter((name) => link(row, name));
    if (!written.length) return null;
    return element("p", { className: "outputs" }, ...written.map((name) => element("a",
      { href: link(row, name), target: "_blank", rel: "noreferrer" }, columns[place.get(name)].title)));
  }

  function details(row) {
    const flags = flagsOf(row);
    const reason = value(row, "reason_code");
    return element("div", { className: "details" },
      element("p", { className: "line" }, statusBadge(row), ...badges(row)),
      flags.length ? pairs(flags.filter((flag) => meanings.flag[flag]).map((flag) => [flag, meanings.flag[flag]])) : null,
      reason || value(row, "reason") ? pairs([[reason || "reason", value(row, "reason") || meanings.reason[reason] || ""]]) : null,
      value(row, "warnings") ? pairs([["Warnings", value(row, "warnings")]]) : null,
      measurements(row), pairs(rest(row)), links(row));
  }

  function largePicture(row) {
    const image = picture(row, thumbnail(row), "large");
    const full = link(row, "overlay");
    if (full && thumbnails[row.index]) {
      // The embedded picture stands in until the large one is there, and stays where it is missing.
      const loading = new Image();
      loading.addEventListener("load", () => { image.src = full; }, { once: true });
      loading.src = full;
    }
    return element("div", { className: "stage" }, image);
  }

  function view(index) {
    current = Math.min(Math.max(0, index), found.length - 1);
    const row = found[current];
    $("viewer-name").textContent = value(row, "file");
    $("viewer-place").textContent = `${count(current + 1)} of ${count(found.length)}`;
    $("viewer-previous").disabled = current === 0;
    $("viewer-next").disabled = current === found.length - 1;
    $("viewer-body").replaceChildren(largePicture(row), details(row));
    $("viewer-body").scrollTop = 0;
    if (!$("viewer").open) $("viewer").showModal();
    // A button that was just disabled loses the focus, and with it the keys.
    if (!$("viewer").contains(document.activeElement) || document.activeElement.disabled) $("viewer-close").focus();
  }

  /* ---- wiring ---- */

  function radio(group, content, text) {
    return element("label", {}, element("input", { type: "radio", name: `choose-${group}`, value: content }), element("span", {}, text));
  }

  function tally(list) {
    const numbers = new Map();
    for (const entry of list) numbers.set(entry, (numbers.get(entry) ?? 0) + 1);
    return [...numbers].sort((a, b) => b[1] - a[1]);
  }

  function fillControls() {
    const statuses = new Map(tally(rows.map((row) => value(row, "status"))));
    $("status").append(radio("status", "", `All ${count(rows.length)}`), ...["done", "skipped", "failed"].filter((status) => statuses.has(status))
      .map((status) => radio("status", status, `${status[0].toUpperCase()}${status.slice(1)} ${count(statuses.get(status))}`)));
    $("view").append(radio("view", "gallery", "Gallery"), radio("view", "table", "Table"));
    const flags = tally(rows.flatMap(flagsOf));
    $("flag").append(option("", "any or none"), option("*", "any flag"), option("-", "no flag"), ...flags.map(([flag, number]) => option(flag, `${flag} (${count(number)})`)));
    const reasons = tally(rows.map((row) => value(row, "reason_code")).filter(Boolean));
    $("reason").append(option("", "any"), ...reasons.map(([reason, number]) => option(reason, `${reason} (${count(number)})`)));
    $("flag").parentElement.hidden = !flags.length;
    $("reason").parentElement.hidden = !reasons.length;
    $("ratio").append(option("", "any or none"), ...Object.entries(ratios).map(([name, [text, isOne]]) => option(name, `${text} (${count(rows.filter(isOne).length)})`)));
    $("ratio").parentElement.hidden = !rows.some((row) => has(row, RATIO) || has(row, "ctr_reason"));
    $("sort").append(option("", "Worst first"), ...listed.map((column) => option(column.name, heading(column))));
  }

  function isDark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function nameTheme() {
    $("theme").textContent = isDark() ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  }

  rows.forEach((row, index) => {
    row.index = index;
    row.name = value(row, "file").toLowerCase();
  });
  fillControls();
  for (const hidden of [$("controls"), $("theme"), document.querySelector(".bar")]) hidden.hidden = false;
  nameTheme();

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  $("theme").addEventListener("click", () => { setTheme(isDark() ? "light" : "dark"); nameTheme(); });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("status").addEventListener("change", (event) => change({ status: event.target.value }));
  $("view").addEventListener("change", (event) => change({ view: event.target.value }, { keepPage: true }));
  $("search").addEventListener("input", (event) => change({ search: event.target.value.toLowerCase() }));
  for (const name of ["flag", "reason", "ratio", "sort"]) $(name).addEventListener("change", (event) => change({ [name]: event.target.value }));
  $("direction").addEventListener("click", () => change({ reversed: !state.reversed }));
  $("all-columns").addEventListener("change", show);
  $("pages").addEventListener("click", (event) => { if (event.target.dataset.page) turnPage(event.target.dataset.page); });

  $("results").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("clear" in button.dataset) change({ status: "", flag: "", reason: "", ratio: "", search: "" });
    else if ("index" in button.dataset) view(Number(button.dataset.index));
    else if ("sort" in button.dataset) {
      const name = button.dataset.sort;
      change({ sort: name, reversed: state.sort === name && !state.reversed });
      $("results").querySelector(`[data-sort="${CSS.escape(name)}"]`).focus();
    }
  });

  // The codes in the summary's tables lead to their files.
  for (const code of document.querySelectorAll("a[data-reason], a[data-flag]")) {
    code.addEventListener("click", () => change({ status: "", search: "", ratio: "", reason: code.dataset.reason ?? "", flag: code.dataset.flag ?? "" }));
  }

  $("viewer-previous").addEventListener("click", () => view(current - 1));
  $("viewer-next").addEventListener("click", () => view(current + 1));
  $("viewer-close").addEventListener("click", () => $("viewer").close());
  $("viewer").addEventListener("click", (event) => { if (event.target === $("viewer")) $("viewer").close(); });
  $("viewer").addEventListener("keydown", (event) => {
    const to = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: found.length - 1 }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    view(to);
  });
  $("viewer").addEventListener("close", () => {
    // Back to the list, where the file that was last looked at stands.
    state.page = Math.floor(current / PAGE_SIZE);
    show();
    $("results").querySelector(`[data-index="${current}"]`)?.focus();
  });

  const statuses = new Set(rows.map((row) => value(row, "status")));
  change({ status: statuses.has("done") && statuses.size > 1 ? "done" : "" });
});
