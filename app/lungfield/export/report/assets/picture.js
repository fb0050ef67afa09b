/* ---- the large picture: zoom, layers, window and level ---- */

const MOST_ZOOM = 12;
const looks = { zoom: 1, contours: true, reference: true, opacity: 1, level: 0.5, window: 1 };
let sheet = null; // what is zoomed: the picture and its layers
let middle = null; // (x, y) of the picture that stands in the middle of the stage, in [0, 1]

/* Of a preview (SVG), each layer shows by its name; the plain picture is one of them. */
const layerOf = (row, name) => `${link(row, "preview")}#${name}`;
const hasReference = (row) => has(row, "dice");

function largePicture(row) {
  const image = picture(row, thumbnail(row), "large");
  sheet = element("div", { className: "sheet" }, image);
  const stage = element("div", { className: "stage", tabIndex: 0, role: "group", "aria-label": "Picture. Plus and minus zoom." }, sheet);
  image.addEventListener("load", fitSheet);
  if (link(row, "preview")) layered(row, image);
  else if (link(row, "overlay") && thumbnails[row.index]) whenLoaded(link(row, "overlay"), (source) => { image.src = source; });
  looks.zoom = 1;
  middle = [0.5, 0.5];
  moving(stage);
  showLooks(row, false);
  return stage;
}

/* The embedded picture stands in until the large one is there, and stays where it is missing. */
function whenLoaded(source, then, otherwise = () => {}) {
  const loading = new Image();
  loading.addEventListener("load", () => then(source), { once: true });
  loading.addEventListener("error", otherwise, { once: true });
  loading.src = source;
}

function layered(row, image) {
  const here = sheet;
  const plain = layerOf(row, "picture");
  whenLoaded(plain, () => {
    if (image.isConnected) image.src = plain;
    else here.prepend(picture(row, plain, "large"));
    for (const name of ["reference", "prediction"]) {
      if (name === "prediction" || hasReference(row)) {
        here.append(element("img", { className: `layer ${name}`, alt: "", src: layerOf(row, name) }));
      }
    }
    if (sheet === here) showLooks(row, true);
  }, () => {
    if (link(row, "overlay")) whenLoaded(link(row, "overlay"), (source) => { image.src = source; });
  });
}

/* What can be set, as it is set. Without layers the contours are part of the picture. */
function showLooks(row, layers) {
  $("layers").hidden = !layers;
  $("reference-label").hidden = !hasReference(row);
  applyLooks();
}

function applyLooks() {
  if (!sheet) return;
  for (const name of ["contours", "reference"]) $(`show-${name}`).checked = looks[name];
  for (const name of ["opacity", "level", "window"]) $(name).value = looks[name];
  for (const layer of sheet.querySelectorAll(".layer")) {
    layer.hidden = !looks[layer.classList.contains("reference") ? "reference" : "contours"];
    layer.style.opacity = looks.opacity;
  }
  // Grey values from level - window / 2 to level + window / 2 are shown from black to white.
  const changed = looks.level !== 0.5 || looks.window !== 1;
  for (const part of document.querySelectorAll("#grey *")) {
    part.setAttribute("slope", 1 / looks.window);
    part.setAttribute("intercept", 0.5 - looks.level / looks.window);
  }
  sheet.classList.toggle("windowed", changed);
  $("looks-reset").disabled = !changed && looks.zoom === 1;
  fitSheet();
}

function fitSheet() {
  const image = sheet?.querySelector("img.large");
  const stage = sheet?.parentElement;
  if (!image?.naturalWidth || !stage?.clientWidth) return;
  const box = stage.getBoundingClientRect();
  const scale = looks.zoom * Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  sheet.style.width = `${scale * image.naturalWidth}px`;
  sheet.style.height = `${scale * image.naturalHeight}px`;
  stage.classList.toggle("zoomed", looks.zoom > 1);
  stage.scrollLeft = middle[0] * sheet.offsetWidth - stage.clientWidth / 2;
  stage.scrollTop = middle[1] * sheet.offsetHeight - stage.clientHeight / 2;
  $("zoom").textContent = `${Math.round(100 * looks.zoom)} %`;
}

/* Zooms so that what lies under a point of the screen stays there; by default the middle. */
function zoomTo(zoom, point = null) {
  const stage = sheet?.parentElement;
  if (!stage || !sheet.offsetWidth) return;
  const old = looks.zoom;
  looks.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
  keepMiddle();
  if (point) {
    const box = sheet.getBoundingClientRect();
    const at = [(point.clientX - box.left) / box.width, (point.clientY - box.top) / box.height];
    middle = middle.map((one, axis) => at[axis] + (one - at[axis]) * (old / looks.zoom));
  }
  applyLooks();
}

function keepMiddle() {
  const stage = sheet.parentElement;
  middle = [
    sheet.offsetWidth > stage.clientWidth ? (stage.scrollLeft + stage.clientWidth / 2) / sheet.offsetWidth : 0.5,
    sheet.offsetHeight > stage.clientHeight ? (stage.scrollTop + stage.clientHeight / 2) / sheet.offsetHeight : 0.5,
  ];
}

/* The wheel zooms, the mouse drags, a double click goes in and out; fingers scroll as everywhere. */
function moving(stage) {
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomTo(looks.zoom * Math.exp(-event.deltaY / 300), event);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoomTo(looks.zoom > 1 ? 1 : 3, event));
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button || looks.zoom === 1) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragged");
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stage.classList.contains("dragged")) return;
    stage.scrollLeft -= event.movementX;
    stage.scrollTop -= event.movementY;
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => stage.classList.remove("dragged"));
  stage.addEventListener("scroll", () => { if (looks.zoom > 1) keepMiddle(); });
}
