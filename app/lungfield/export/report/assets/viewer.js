/* ---- one file, large ---- */

let current = 0;

const pairs = (entries) => element("dl", { className: "facts" }, ...entries.map(([name, ...content]) => element("div", {}, element("dt", {}, name), element("dd", {}, ...content))));

const MEASURED = /^(area|height|width)_(px|mm|mm2)$|_density$/;

/* The structures that have figures, and which figures; a column name is `structure_figure`. */
function measured(row) {
  const figures = (name) => listed.filter((column) => column.name.startsWith(`${name}_`) && has(row, column.name))
    .map((column) => column.name.slice(name.length + 1)).filter((figure) => MEASURED.test(figure));
  const known = structures.filter(([name]) => figures(name).length);
  return [known, [...new Set(known.flatMap(([name]) => figures(name)))]];
}

function measurements(row) {
  const [known, suffixes] = measured(row);
  if (!known.length) return null;
  const title = (suffix) => {
    const column = columns[place.get(known.map(([name]) => `${name}_${suffix}`).find((name) => place.has(name)))];
    const word = suffix.replace(/_(mm2|mm|px)$/, "").replaceAll("_", " ");
    return (word[0].toUpperCase() + word.slice(1)) + (column.unit ? ` (${column.unit})` : "");
  };
  const cell = (name) => element("td", { className: "number" }, place.has(name) ? shown(row, columns[place.get(name)]) : "–");
  return element("table", {},
    element("thead", {}, element("tr", {}, element("td", {}), ...known.map(([name, text]) => element("th", { scope: "col", className: "number" },
      element("span", { className: `swatch ${name.replaceAll("_", "-")}` }), ` ${text}`)))),
    element("tbody", {}, ...suffixes.map((suffix) => element("tr", {}, element("th", { scope: "row" }, title(suffix)), ...known.map(([name]) => cell(`${name}_${suffix}`))))));
}

function rest(row) {
  const [known, suffixes] = measured(row);
  const apart = new Set(["file", "status", "reason", "reason_code", "flags", "warnings",
    ...known.flatMap(([name]) => suffixes.map((suffix) => `${name}_${suffix}`))]);
  return listed.filter((column) => !apart.has(column.name)
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

function view(index) {
  current = Math.min(Math.max(0, index), found.length - 1);
  const row = found[current];
  $("viewer-name").textContent = value(row, "file");
  $("viewer-place").textContent = `${count(current + 1)} of ${count(found.length)}`;
  $("viewer-previous").disabled = current === 0;
  $("viewer-next").disabled = current === found.length - 1;
  const stage = largePicture(row);
  $("viewer-picture").replaceChildren(stage);
  $("viewer-details").replaceChildren(details(row));
  $("viewer-details").scrollTop = $("viewer-body").scrollTop = 0;
  showVerdict();
  if (!$("viewer").open) $("viewer").showModal();
  resized.disconnect();
  resized.observe(stage);
  // A button that was just disabled loses the focus, and with it the keys.
  if (!$("viewer").contains(document.activeElement) || document.activeElement.disabled) $("viewer-close").focus();
  writeAddress(value(row, "file"));
}

const resized = new ResizeObserver(fitSheet);

function showVerdict() {
  for (const decided of VERDICTS) $(decided).setAttribute("aria-pressed", verdict(found[current]) === decided);
}

function decideCurrent(decided) {
  decide(found[current], decided);
  showVerdict();
}

/* Keys of the viewer; those of a control that has the focus are its own. */
function viewerKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
  const scrolls = event.target.matches(".zoomed") && event.key.startsWith("Arrow");
  const keys = {
    ArrowLeft: () => view(current - 1), ArrowRight: () => view(current + 1),
    Home: () => view(0), End: () => view(found.length - 1),
    "+": () => zoomTo(1.5 * looks.zoom), "=": () => zoomTo(1.5 * looks.zoom), "-": () => zoomTo(looks.zoom / 1.5), 0: () => zoomTo(1),
    a: () => decideCurrent("accepted"), r: () => decideCurrent("rejected"),
    c: () => setLook("contours", !looks.contours), f: () => setLook("reference", !looks.reference),
  };
  if (scrolls || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

function setLook(name, content) {
  looks[name] = content;
  applyLooks();
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
  $("review").append(option("", "any"), ...[["none", "not reviewed"], ["accepted", "accepted"], ["rejected", "rejected"]]
    .map(([content, text]) => element("option", { value: content, "data-text": text }, text)));
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

/* Shows what an address tells; of one that tells nothing of files, nothing changes. */
function follow(address) {
  if (!address.startsWith(FILES)) return;
  const [chosen, file] = chosenBy(address);
  change(chosen, { keepPage: true });
  const index = found.findIndex((row) => value(row, "file") === file);
  if (file && index >= 0) view(index);
  else {
    if ($("viewer").open) $("viewer").close();
    $("files").focus({ preventScroll: true });
    $("files").scrollIntoView();
  }
}

fillControls();
for (const hidden of [$("controls"), $("theme"), document.querySelector(".bar")]) hidden.hidden = false;
nameTheme();

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
$("theme").addEventListener("click", () => { setTheme(isDark() ? "light" : "dark"); nameTheme(); });
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("status").addEventListener("change", (event) => change({ status: event.target.value }));
$("view").addEventListener("change", (event) => change({ view: event.target.value }, { keepPage: true }));
$("search").addEventListener("input", (event) => change({ search: event.target.value.toLowerCase() }));
for (const name of ["flag", "reason", "ratio", "review", "sort"]) $(name).addEventListener("change", (event) => change({ [name]: event.target.value }));
$("direction").addEventListener("click", () => change({ reversed: !state.reversed }));
$("all-columns").addEventListener("change", show);
$("pages").addEventListener("click", (event) => { if (event.target.dataset.page) turnPage(event.target.dataset.page); });
$("save-list").addEventListener("click", saveList);
$("save-review").addEventListener("click", saveReview);
$("load-review").addEventListener("click", () => $("review-file").click());
$("review-file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  $("review-status").textContent = loadReview(await file.text());
  event.target.value = ""; // so that the same file can be chosen again
  change({}, { keepPage: true });
});

$("results").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const row = event.target.closest("[data-row]");
  if (!button) {
    if (row && !String(getSelection())) view(Number(row.dataset.row));
  } else if ("clear" in button.dataset) change({ status: "", flag: "", reason: "", ratio: "", review: "", search: "" });
  else if ("index" in button.dataset) view(Number(button.dataset.index));
  else if ("sort" in button.dataset) {
    const name = button.dataset.sort;
    change({ sort: name, reversed: state.sort === name && !state.reversed });
    $("results").querySelector(`[data-sort="${CSS.escape(name)}"]`).focus();
  }
});

// Figures and codes in the summary lead to their files.
document.addEventListener("click", (event) => {
  const address = event.target.closest?.("a")?.getAttribute("href") ?? "";
  if (!address.startsWith(FILES) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", address);
  follow(address);
});
for (const moved of ["popstate", "hashchange"]) addEventListener(moved, () => { if (location.hash.startsWith(FILES)) follow(location.hash); });

$("viewer-previous").addEventListener("click", () => view(current - 1));
$("viewer-next").addEventListener("click", () => view(current + 1));
$("viewer-close").addEventListener("click", () => $("viewer").close());
for (const decided of VERDICTS) $(decided).addEventListener("click", () => decideCurrent(decided));
$("zoom-in").addEventListener("click", () => zoomTo(1.5 * looks.zoom));
$("zoom-out").addEventListener("click", () => zoomTo(looks.zoom / 1.5));
for (const name of ["contours", "reference"]) $(`show-${name}`).addEventListener("change", (event) => setLook(name, event.target.checked));
for (const name of ["opacity", "level", "window"]) $(name).addEventListener("input", (event) => setLook(name, Number(event.target.value)));
$("looks-reset").addEventListener("click", () => { Object.assign(looks, { level: 0.5, window: 1 }); zoomTo(1); applyLooks(); });
$("viewer").addEventListener("click", (event) => { if (event.target === $("viewer")) $("viewer").close(); });
$("viewer").addEventListener("keydown", viewerKey);
$("viewer").addEventListener("close", () => {
  // Back to the list, where the file that was last looked at stands.
  const file = found[current];
  state.page = Math.floor(current / PAGE_SIZE);
  choose(); // a verdict may have taken it off the list
  show();
  const index = found.indexOf(file);
  $("results").querySelector(`[data-index="${index < 0 ? Math.min(current, found.length - 1) : index}"]`)?.focus();
});

change({});
follow(location.hash);
document.addEventListener("DOMContentLoaded", () => {
  const first = thumbnails.length;
  addThumbnails();
  const start = state.page * PAGE_SIZE;
  if (!$("viewer").open && found.slice(start, start + PAGE_SIZE).some((row) => row.index >= first && thumbnails[row.index])) show();
});
