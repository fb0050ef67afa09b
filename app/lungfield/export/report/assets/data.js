"use strict";

/* What the page holds: the rows, their columns, and small help with elements. */

const PAGE_SIZE = 60;
const $ = (id) => document.getElementById(id);

const { id, outputs, columns, main, rows, base, mediaType, meanings, structures } = JSON.parse($("data").textContent);
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

rows.forEach((row, index) => {
  row.index = index;
  row.name = value(row, "file").toLowerCase();
});

/* Most thumbnails follow this script in the page, so that the first cards do not wait for them. */
function addThumbnails() {
  const more = JSON.parse($("more-thumbnails").textContent);
  $("more-thumbnails").remove();
  for (const one of more) thumbnails.push(one);
}

function thumbnail(row) {
  const embedded = thumbnails[row.index];
  return embedded ? `data:${mediaType};base64,${embedded}` : link(row, "overlay");
}

/* ---- elements; text is only ever set as text ---- */

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

/* ---- tables as files ---- */

/* One value as results.csv has it: lists by spaces, and no formula for spreadsheets. */
function csvCell(content) {
  let text = Array.isArray(content) ? content.join(" ") : String(content ?? "");
  if (typeof content !== "number" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv(name, lines) {
  const text = lines.map((line) => `${line.map(csvCell).join(",")}\r\n`).join("");
  // eslint-disable-next-line no-control-regex
  const mark = /^[\x00-\x7f]*$/.test(text) ? "" : "\ufeff"; // without which Excel garbles accents
  const url = URL.createObjectURL(new Blob([mark, text], { type: "text/csv" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/* The lines of a CSV file (RFC 4180), each a list of texts. */
function readCsv(text) {
  const lines = [[]];
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  text = text.replace(/^\ufeff/, "");
  while (cell.lastIndex < text.length) {
    const match = cell.exec(text);
    if (!match) return null;
    lines.at(-1).push(match[1]?.replaceAll('""', '"') ?? match[2]);
    if (match[3] && match[3] !== ",") lines.push([]);
  }
  return lines.filter((line) => line.length);
}
