/* ---- what is chosen; the address says it, so that links and bookmarks keep it ---- */

const ends = new Set(rows.map((row) => value(row, "status")));
const DEFAULTS = {
  status: ends.has("done") && ends.size > 1 ? "done" : "",
  flag: "", reason: "", ratio: "", review: "", search: "", sort: "", reversed: false, view: "gallery", page: 0,
};
const FILES = "#files?";
const state = { ...DEFAULTS };
let found = rows;

/* In adults, a ratio over 0.50 on a PA view counts as enlarged. */
const RATIO = "cardiothoracic_ratio";
const ratios = {
  over: ["over 0.50", (row) => has(row, RATIO) && value(row, RATIO) > 0.5],
  upTo: ["0.50 or less", (row) => has(row, RATIO) && value(row, RATIO) <= 0.5],
  none: ["none, with a reason", (row) => has(row, "ctr_reason")],
};

/* The part of the address after `#` for a choice, and for a file that is looked at. */
function addressOf(chosen, file = "") {
  const told = new URLSearchParams();
  for (const [name, content] of Object.entries(chosen)) {
    if (content === DEFAULTS[name]) continue;
    told.set(name, name === "page" ? content + 1 : content === "" ? "all" : String(content));
  }
  if (file) told.set("file", file);
  return FILES + told;
}

/* The choice that an address tells, and the file. What it does not know counts as not said. */
function chosenBy(address) {
  const told = new URLSearchParams(address.slice(FILES.length));
  const chosen = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    if (told.has(name)) chosen[name] = told.get(name) === "all" && name !== "search" ? "" : told.get(name);
  }
  chosen.search = chosen.search.toLowerCase();
  chosen.reversed = String(chosen.reversed) === "true";
  chosen.page = told.has("page") ? Math.max(0, (Number.parseInt(told.get("page"), 10) || 1) - 1) : 0;
  if (chosen.view !== "table") chosen.view = "gallery";
  if (!place.has(chosen.sort)) chosen.sort = "";
  if (!ratios[chosen.ratio]) chosen.ratio = "";
  return [chosen, told.get("file") ?? ""];
}

let writing = 0;

function writeAddress(file = "") {
  clearTimeout(writing); // browsers limit how often it may change
  writing = setTimeout(() => {
    const address = addressOf(state, file);
    if (address === FILES && !location.hash.startsWith(FILES)) return;
    try {
      history.replaceState(null, "", address === FILES ? "#files" : address);
    } catch {
      // then there is no link to this choice
    }
  }, 150);
}

function matches(row) {
  if (state.status && value(row, "status") !== state.status) return false;
  if (state.reason && value(row, "reason_code") !== state.reason) return false;
  if (state.search && !row.name.includes(state.search)) return false;
  if (state.ratio && !ratios[state.ratio][1](row)) return false;
  if (state.review && (verdict(row) || "none") !== state.review) return false;
  const flags = flagsOf(row);
  if (state.flag === "*") return flags.length > 0;
  if (state.flag === "-") return flags.length === 0;
  return !state.flag || flags.includes(state.flag);
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

/* What is listed, with all columns, as a table for spreadsheets and programs. */
function saveList() {
  const names = columns.map((column) => column.name);
  saveCsv("list.csv", [[...names, "verdict"], ...found.map((row) => [...names.map((name) => value(row, name)), verdict(row)])]);
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
      element("span", { className: "line" }, verdictBadge(row), ...figureLine(row), ...badges(row))));
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
      return element("td", {}, statusBadge(row), verdictBadge(row));
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
      element("tbody", {}, ...some.map((row, index) => element("tr", { "data-row": start + index }, ...wanted.map((column) => tableCell(row, column, start + index)))))));
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
  writeAddress();
}

function showControls() {
  for (const name of ["flag", "reason", "ratio", "review", "sort"]) $(name).value = state[name];
  if ($("search").value.toLowerCase() !== state.search) $("search").value = state.search;
  for (const name of ["status", "view"]) {
    for (const input of $(name).querySelectorAll("input")) input.checked = input.value === state[name];
  }
  $("direction").setAttribute("aria-pressed", state.reversed);
  $("all-columns-label").hidden = state.view !== "table";
  const verdicts = rows.map(verdict);
  for (const one of $("review").options) {
    const number = verdicts.filter((decided) => (decided || "none") === one.value).length;
    one.textContent = one.value ? `${one.dataset.text} (${count(number)})` : "any";
  }
  $("save-review").disabled = !verdicts.some(Boolean);
}

function turnPage(where) {
  const last = Math.ceil(found.length / PAGE_SIZE) - 1;
  state.page = { first: 0, previous: state.page - 1, next: state.page + 1, last }[where];
  show();
  $("files").focus({ preventScroll: true });
  $("files").scrollIntoView();
}
