"use strict";
const REFRESH_MS = 3000;
const LONGEST_SIDE = 1440;
const byId = (id) => document.getElementById(id);
const canvas = document.querySelector("canvas");

/* The page again: what is alive in it is replaced where it has changed. */
async function refresh() {
  try {
    if (document.hidden) return;
    const answer = await fetch("", { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      if (!old.isEqualNode(page.getElementById(old.id))) old.replaceWith(page.getElementById(old.id));
    }
    document.title = page.title;
    byId("lost").textContent = "";
  } catch {
    byId("lost").textContent ||= `No answer since ${new Date().toLocaleTimeString()}. What is shown is older.`;
  } finally {
    setTimeout(refresh, REFRESH_MS);
  }
}

function element(tag, text, className = "") {
  const made = Object.assign(document.createElement(tag), { className });
  made.append(text);
  return made;
}

/* The picture upright and as large as Immich's previews are: on the canvas, and as JPEG. */
async function draw(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  [canvas.width, canvas.height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
}

/* A numbered outline through corners [[x, y], …], in pixels. */
function outline(corners, color, number) {
  const paint = canvas.getContext("2d");
  const unit = Math.max(canvas.width, canvas.height) / 400;
  const path = new Path2D();
  corners.forEach(([x, y]) => path.lineTo(x, y));
  path.closePath();
  for (const [strokeStyle, width] of [["#000a", 2.2], [color, 1.1]]) {
    Object.assign(paint, { strokeStyle, lineWidth: width * unit });
    paint.stroke(path);
  }
  const [left, bottom] = [corners[0][0], Math.max(9 * unit, corners[0][1])];
  Object.assign(paint, { font: `bold ${8 * unit}px system-ui, sans-serif`, fillStyle: color });
  paint.fillRect(left, bottom - 9 * unit, paint.measureText(number).width + 4 * unit, 9 * unit);
  paint.fillStyle = "#000";
  paint.fillText(number, left + 2 * unit, bottom - 1.7 * unit);
}

async function predict(entries, payload) {
  const body = new FormData();
  body.append("entries", JSON.stringify(entries));
  for (const [name, value] of Object.entries(payload)) body.append(name, value);
  const answer = await fetch("predict", { method: "POST", body });
  const { detail, ...content } = await answer.json();
  if (!answer.ok) throw new Error(typeof detail === "string" ? detail : JSON.stringify(detail));
  return content;
}

/* Per task: what its answer shows on the canvas, and the items of a list. */
const TASKS = {
  "facial-recognition": ["Faces", (found) => found.map(({ boundingBox: { x1, y1, x2, y2 }, score }, i) => {
    outline([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], "#ffd166", i + 1);
    return `face, ${Math.round(100 * score)} % sure`;
  })],
  ocr: ["Lines of text", (found) => found.text.map((text, i) => {
    const corner = (at) => [found.box[8 * i + at] * canvas.width, found.box[8 * i + at + 1] * canvas.height];
    outline([0, 2, 4, 6].map(corner), "#7ae7c7", i + 1);
    return text;
  })],
  clip: ["Nearest texts", async (vector, { visual: { modelName } }) => {
    const texts = byId("texts").value.split("\n").map((text) => text.trim()).filter(Boolean);
    const answers = await Promise.all(texts.map((text) => predict({ clip: { textual: { modelName } } }, { text })));
    const cosines = answers.map(({ clip }) => cosine(JSON.parse(vector), JSON.parse(clip)));
    const order = [...texts.keys()].sort((a, b) => cosines[b] - cosines[a]);
    return order.map((i) => `${texts[i]} (cosine ${cosines[i].toFixed(3)})`);
  }],
};

function cosine(a, b) {
  const dot = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/* One request a task, so that what is there is shown while another model is being loaded. */
async function ask(task, types, image) {
  const [title, show] = TASKS[task];
  const state = element("p", "…", "quiet");
  const list = element("ol", "");
  byId("found").append(element("h3", title), state, list);
  const started = performance.now();
  try {
    const answer = await predict({ [task]: types }, { image });
    const items = await show(answer[task], types);
    list.append(...items.map((item) => element("li", item)));
    state.textContent = `${items.length || "None"} in ${((performance.now() - started) / 1000).toFixed(2)} s`;
  } catch (error) {
    state.replaceWith(element("p", error.message, "bad"));
  }
}

async function look(event) {
  event.preventDefault();
  const { elements } = event.target;
  const button = event.target.querySelector("button");
  button.disabled = true;
  byId("answer").hidden = false;
  byId("found").replaceChildren();
  try {
    const image = await draw(elements.image.files[0]);
    const entries = Object.entries(JSON.parse(elements.entries.value));
    await Promise.all(entries.map(([task, types]) => ask(task, types, image)));
  } catch (error) {
    byId("found").append(element("p", `The browser cannot read this picture: ${error.message}`, "bad"));
  }
  button.disabled = false;
}

document.querySelector("form")?.addEventListener("submit", look);
setTimeout(refresh, REFRESH_MS);
