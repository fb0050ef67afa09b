/* ---- accepted and rejected: kept by the browser for this report, and saved to a file ---- */

const REVIEW = `lungfield-review:${id}`;
const VERDICTS = ["accepted", "rejected"];

const review = new Map(); // by file: [verdict, when]

try {
  for (const [file, decided] of JSON.parse(localStorage.getItem(REVIEW) ?? "[]")) review.set(file, decided);
} catch {
  // a browser may refuse storage to a file
}

const verdict = (row) => review.get(value(row, "file"))?.[0] ?? "";

function keepReview() {
  try {
    localStorage.setItem(REVIEW, JSON.stringify([...review]));
  } catch {
    // then it holds until the page is closed, and in the file that is saved
  }
}

/* The same verdict again takes it back. */
function decide(row, decided) {
  const file = value(row, "file");
  if (verdict(row) === decided) review.delete(file);
  else review.set(file, [decided, new Date().toISOString()]);
  keepReview();
}

function verdictBadge(row) {
  const decided = verdict(row);
  return decided ? element("span", { className: `verdict ${decided}` }, `${decided === "accepted" ? "✓" : "✗"} ${decided}`) : null;
}

function saveReview() {
  const decided = rows.filter(verdict).map((row) => [value(row, "file"), ...review.get(value(row, "file"))]);
  saveCsv("review.csv", [["file", "verdict", "decided"], ...decided]);
}

/* Takes over what a saved file says of the files of this report; returns a text about it. */
function loadReview(text) {
  const lines = readCsv(text);
  const [fileAt, verdictAt, decidedAt] = ["file", "verdict", "decided"].map((name) => lines?.[0]?.indexOf(name) ?? -1);
  if (fileAt < 0 || verdictAt < 0) return "This is no saved review: it lacks the columns file and verdict.";
  const known = new Map(rows.map((row) => [csvCell(value(row, "file")).replace(/^"(.*)"$/s, "$1").replaceAll('""', '"'), value(row, "file")]));
  let taken = 0;
  for (const line of lines.slice(1)) {
    if (!VERDICTS.includes(line[verdictAt]) || !known.has(line[fileAt])) continue;
    review.set(known.get(line[fileAt]), [line[verdictAt], line[decidedAt] ?? ""]);
    taken += 1;
  }
  keepReview();
  const other = lines.length - 1 - taken;
  return `Verdicts on ${files(taken)} loaded${other ? `; ${count(other)} are of files that are not here` : ""}.`;
}
