"use strict";
// The explorer: samples on the left, for each chosen method its map over the image, the image masked at one point of
// the curves, and the curves. What a sample needs is decoded when it is looked at; nothing is loaded from elsewhere.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const NOTHING = -1;  // no second method
const KEPT = 24;     // decoded payloads that are kept

const ORDERS = [
  { name: "order of the evaluation" },
  { name: "name", by: (sample) => sample.id, text: true },
  { name: "ID score, lowest first", by: (sample) => score(state.first, sample) },
  { name: "ID score, highest first", by: (sample) => -score(state.first, sample) },
  { name: "difference of the methods, first ahead", by: (sample) => -difference(sample) },
  { name: "difference of the methods, second ahead", by: (sample) => difference(sample) },
  { name: "wrong predictions first", by: (sample) => (row(state.first, sample)?.wrong ? 0 : 1) },
];

// What is shown. `sample` is a place in the set's samples, `point` one of the first method's stops.
const state = { set: 0, first: 0, second: NOTHING, protocol: "", order: 0, opacity: 0.8, sample: 0, point: 0 };
let listed = [];   // the samples that the first method has, in the chosen order
let drawing = 0;   // number of the latest draw: an older one that is still decoding draws nothing any more

const set = () => data.sets[state.set];
const row = (method, sample) => set().methods[method]?.rows[sample.place];
const protocolOf = (method) => set().methods[method].protocols.indexOf(state.protocol);

// ID score of a sample under the chosen protocol; NaN where the method has none, which sorts last.
function score(method, sample) {
  const found = row(method, sample), protocol = found ? protocolOf(method) : -1;
  return protocol < 0 ? NaN : found.scores[protocol][2];
}

function difference(sample) {
  return state.second === NOTHING ? NaN : score(state.first, sample) - score(state.second, sample);
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

const shownNumber = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
const signed = (value) => (Number.isFinite(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3) : "–");

// ---- decoding -------------------------------------------------------------------------------------------------------

const decoded = new Map();

// Decodes once what is asked for, keeps the last ones.
function kept(id, decode) {
  if (!decoded.has(id)) {
    decoded.set(id, decode());
    if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  }
  return decoded.get(id);
}

// The page is shown before all of it has been read: what stands further below may have to be waited for.
async function payload(id) {
  while (!byId(id) && document.readyState === "loading") await new Promise((resolve) => setTimeout(resolve, 10));
  return JSON.parse(byId(id).textContent);
}

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

async function pixelsOf(source, width, height) {
  const picture = new Image();
  picture.src = source;
  await picture.decode();
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

// The band of every pixel; of two bytes each the low ones come before the high ones.
async function bandsOf(plane, count) {
  const stream = new Blob([bytesOf(plane.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const band = Uint16Array.from(bytes.subarray(0, count));
  if (plane.bytes === 2) for (let i = 0; i < count; i++) band[i] += 256 * bytes[count + i];
  return band;
}

const imageOf = (sample) => kept(sample.image, async () => pixelsOf(await payload(sample.image), sample.width, sample.height));

function explainedOf(method, sample) {
  const key = row(method, sample).payload;
  return kept(key, async () => {
    const found = await payload(key), planes = {};
    for (const [patch, plane] of Object.entries(found.planes)) planes[patch] = await bandsOf(plane, sample.width * sample.height);
    const hidden = found.baseline.map((picture) => picture && pixelsOf(picture, sample.width, sample.height));
    return { ...found, planes, hidden: await Promise.all(hidden) };
  });
}

// ---- drawing --------------------------------------------------------------------------------------------------------

const palettes = Object.fromEntries(Object.entries(data.palettes).map(([name, text]) => [name, bytesOf(text)]));

function canvasOf(sample, name) {
  const canvas = element("canvas", { width: sample.width, height: sample.height, role: "img", "aria-label": name });
  if (sample.width < 160) canvas.className = "small";
  return canvas;
}

// The map over the image: the more relevant, the more opaque; red for the class and blue against it where it has both.
function drawOverlay(canvas, photograph, explained) {
  const context = canvas.getContext("2d"), out = context.createImageData(canvas.width, canvas.height);
  const palette = palettes[explained.signed ? "bwr" : "plasma"], band = explained.planes[1];
  const colours = explained.levels.map((level) => {
    const value = level / data.steps, place = explained.signed ? (1 + value) / 2 : value;
    return { at: 3 * Math.min(255, Math.floor(256 * place)), alpha: state.opacity * Math.abs(value) };
  });
  for (let i = 0; i < band.length; i++) {
    const { at, alpha } = colours[band[i]];
    for (let channel = 0; channel < 3; channel++) {
      out.data[4 * i + channel] = (1 - alpha) * photograph[4 * i + channel] + alpha * palette[at + channel];
    }
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

// The image as the network saw it: the first bands inserted into the baseline, or (deletion) replaced by it.
function drawMasked(canvas, photograph, band, shown, deletion, hidden) {
  const context = canvas.getContext("2d"), out = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < band.length; i++) {
    const isKept = band[i] < shown !== deletion;
    for (let channel = 0; channel < 3; channel++) {
      out.data[4 * i + channel] = isKept ? photograph[4 * i + channel] : hidden(4 * i + channel, channel);
    }
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

// Points of which at least one curve was evaluated.
const stopsOf = (curves) => curves.fraction.map((_, i) => i).filter((i) => curves.insertion[i] !== null || curves.deletion[i] !== null);

function drawCurves(curves, at, move) {
  const space = "http://www.w3.org/2000/svg", width = 300, height = 240, left = 30, right = 12, top = 12, bottom = 40;
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "insertion and deletion curve");
  const x = (share) => left + share * (width - left - right), y = (p) => top + (1 - p) * (height - top - bottom);
  const add = (name, attributes, text) => {
    const part = document.createElementNS(space, name);
    Object.entries(attributes).forEach(([key, value]) => part.setAttribute(key, value));
    if (text !== undefined) part.textContent = text;
    svg.append(part);
  };
  for (const tick of [0, 0.5, 1]) {
    add("line", { x1: x(0), x2: x(1), y1: y(tick), y2: y(tick), class: "grid" });
    add("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick);
    add("text", { x: x(tick), y: height - bottom + 16, "text-anchor": tick === 1 ? "end" : "middle" }, `${100 * tick} %`);
  }
  add("text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, "share of the pixels");
  add("line", { x1: x(curves.fraction[at]), x2: x(curves.fraction[at]), y1: y(0), y2: y(1), class: "here" });
  const last = (values) => values.filter((p) => p !== null).at(-1);
  for (const [name, other] of [["insertion", "deletion"], ["deletion", "insertion"]]) {
    // From 0 pixels: nothing inserted is everything deleted, and the other way round.
    const points = [`${x(0)},${y(last(curves[other]))}`];
    curves[name].forEach((p, i) => { if (p !== null) points.push(`${x(curves.fraction[i]).toFixed(1)},${y(p).toFixed(1)}`); });
    add("polyline", { points: points.join(" "), class: name });
    if (curves[name][at] !== null) add("circle", { cx: x(curves.fraction[at]), cy: y(curves[name][at]), r: 4, class: name });
  }
  const follow = (event) => {
    const box = svg.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width * width - left) / (width - left - right));
  };
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  return svg;
}

function nearest(curves, fraction) {
  const stops = stopsOf(curves), distance = (i) => Math.abs(curves.fraction[i] - fraction);
  return stops.reduce((best, i) => (distance(i) < distance(best) ? i : best), stops[0]);
}

// Moves to the point of the first method that lies nearest to a share of the pixels.
function moveTo(curves, fraction) {
  state.point = stopsOf(curves).indexOf(nearest(curves, fraction));
  draw();
}

function figure(content, ...caption) {
  return element("figure", {}, content, element("figcaption", {}, ...caption));
}

function panel(method, sample, photograph, explained, at, move) {
  const described = set().methods[method], found = row(method, sample), protocol = protocolOf(method);
  const swatch = element("span", { class: "swatch", style: `background:${described.colour}` });
  const title = element("div", { class: "title" }, swatch, element("h3", {}, described.name));
  const made = element("article", { class: "panel", "data-method": described.name }, title);
  made.append(element("p", {}, found.classes.join(" · ")));
  const canvas = canvasOf(sample, "map over the image");
  drawOverlay(canvas, photograph, explained);
  const views = element("div", { class: "views" }, figure(canvas, `map; explained class: p = ${shownNumber(found.probability)}`));
  if (protocol < 0) {
    made.append(element("p", { class: "faint" }, `not evaluated under ${state.protocol}`), views);
    return made;
  }
  const [insertion, deletion, id] = found.scores[protocol], curves = explained.curves[protocol];
  made.append(element("p", { class: "faint scores" }, `ID ${shownNumber(id)} = insertion ${shownNumber(insertion)} − deletion ${shownNumber(deletion)}`));
  views.append(figure(drawCurves(curves, at, move), "probability of the scored class"));
  const colour = described.baseline[protocol], blurred = explained.hidden[protocol];
  const hidden = colour ? (_, channel) => colour[channel] : (place) => blurred[place];
  for (const [name, words] of [["insertion", "most relevant pixels alone"], ["deletion", "without these pixels"]]) {
    const masked = canvasOf(sample, `image at this point of the ${name} curve`);
    drawMasked(masked, photograph, explained.planes[described.patch[protocol]], curves.shown[at], name === "deletion", hidden);
    masked.dataset.curve = name;
    const p = curves[name][at];
    views.append(figure(masked, `${words}: `, element("b", { class: name, "data-curve": name }, p === null ? "not evaluated" : `p = ${shownNumber(p)}`)));
  }
  made.append(views);
  return made;
}

async function draw() {
  const mine = ++drawing, sample = set().samples[state.sample];
  const methods = [state.first, state.second].filter((method, i) => i === 0 || (method !== NOTHING && method !== state.first));
  const there = methods.filter((method) => row(method, sample));
  const [photograph, ...explained] = await Promise.all([imageOf(sample), ...there.map((method) => explainedOf(method, sample))]);
  if (mine !== drawing) return;
  const leading = explained[0]?.curves[protocolOf(there[0])];
  const stops = leading ? stopsOf(leading) : [0];
  state.point = Math.max(0, Math.min(state.point, stops.length - 1));
  const fraction = leading ? leading.fraction[stops[state.point]] : 0;
  const slider = byId("point");
  slider.max = stops.length - 1;
  slider.value = state.point;
  slider.disabled = !leading;
  const count = leading ? Math.round(fraction * sample.width * sample.height) : 0;
  byId("point-label").textContent = `Point ${state.point + 1} of ${stops.length}: ${(100 * fraction).toFixed(1)} % of the pixels (${count})`;
  slider.setAttribute("aria-valuetext", `${(100 * fraction).toFixed(1)} % of the pixels`);
  byId("sample").textContent = sample.id;
  byId("place").textContent = `${listed.indexOf(state.sample) + 1} of ${listed.length}`;
  const panels = byId("panels");
  panels.style.setProperty("--methods", methods.length);
  panels.className = methods.length > 1 ? "several" : "";
  panels.replaceChildren(...methods.map((method) => {
    const index = there.indexOf(method);
    if (index < 0) {
      const words = "its evaluation keeps no map of this sample: start it again with task.maps=N";
      return element("article", { class: "panel" }, element("h3", {}, set().methods[method].name), element("p", { class: "faint" }, words));
    }
    const curves = explained[index].curves[protocolOf(method)];
    const at = curves ? nearest(curves, fraction) : 0;
    return panel(method, sample, photograph, explained[index], at, (share) => leading && moveTo(leading, share));
  }));
}

// ---- samples and controls -------------------------------------------------------------------------------------------

function list() {
  const order = ORDERS[state.order], samples = set().samples;
  listed = samples.filter((sample) => row(state.first, sample)).map((sample) => sample.place);
  if (order.by) {
    const keys = new Map(listed.map((place) => [place, order.by(samples[place])]));
    listed.sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (order.text) return x.localeCompare(y, undefined, { numeric: true });
      return Number.isNaN(x) - Number.isNaN(y) || x - y || a - b;
    });
  }
  const box = byId("samples");
  box.replaceChildren(...listed.map((place) => {
    const sample = samples[place], found = row(state.first, sample);
    const name = element("span", { class: "name" }, sample.id), numbers = [shownNumber(score(state.first, sample))];
    name.title = sample.id;
    if (state.second !== NOTHING) numbers.push(signed(difference(sample)));
    const item = element("li", { role: "option", id: `sample-${place}`, "data-place": place }, name, element("span", {}, numbers.join("  ")));
    if (found.wrong) item.append(element("span", { class: "wrong faint" }, "wrong prediction"));
    item.addEventListener("click", () => choose(place));
    return item;
  }));
  mark();
}

function mark() {
  const box = byId("samples");
  box.querySelectorAll("[aria-selected=true]").forEach((item) => item.removeAttribute("aria-selected"));
  const item = byId(`sample-${state.sample}`);
  if (!item) return;
  item.setAttribute("aria-selected", "true");
  box.setAttribute("aria-activedescendant", item.id);
  // Within the list alone: the page itself stays where it is.
  const above = item.offsetTop - box.offsetTop;
  if (above < box.scrollTop) box.scrollTop = above;
  else if (above + item.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = above + item.offsetHeight - box.clientHeight;
}

function choose(place) {
  state.sample = place;
  mark();
  draw();
}

function fill(select, names, chosen, first = 0) {
  select.replaceChildren(...names.map((name, i) => element("option", { value: i + first }, name)));
  select.value = chosen;
}

// After another data set, method or protocol: the controls, the list, and a sample that the first method has.
function refresh(toTop = false) {
  const { methods, samples } = set(), names = methods.map((method) => method.name);
  const protocols = methods[state.first].protocols;
  if (!protocols.includes(state.protocol)) state.protocol = protocols[0];
  fill(byId("set"), data.sets.map((each) => each.name), state.set);
  fill(byId("first"), names, state.first);
  fill(byId("second"), ["none", ...names], state.second, NOTHING);
  fill(byId("protocol"), protocols, protocols.indexOf(state.protocol));
  fill(byId("order"), ORDERS.map((order) => order.name), state.order);
  list();
  if (toTop || !listed.includes(state.sample)) state.sample = listed[0];
  if (toTop) byId("samples").scrollTop = 0;
  mark();
  draw();
}

function openSet(index) {
  const { methods } = data.sets[index];
  Object.assign(state, { set: index, first: 0, second: methods.length > 1 ? 1 : NOTHING, protocol: "" });
  refresh(true);
}

const step = (value, by, count) => (value + by + count) % count;

function sortBy(order) {
  state.order = order;
  refresh(true);
}

function turn(opacity) {
  state.opacity = Math.max(0, Math.min(1, opacity));
  byId("opacity").value = 100 * state.opacity;
  draw();
}

function go(point) {
  state.point = Math.max(0, Math.min(point, Number(byId("point").max)));
  draw();
}

const KEYS = {
  ArrowUp: () => choose(listed[Math.max(0, listed.indexOf(state.sample) - 1)]),
  ArrowDown: () => choose(listed[Math.min(listed.length - 1, listed.indexOf(state.sample) + 1)]),
  ArrowLeft: (event) => go(state.point - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => go(state.point + (event.shiftKey ? 10 : 1)),
  Home: () => go(0),
  End: () => go(Infinity),
  "-": () => turn(state.opacity - 0.1),
  "+": () => turn(state.opacity + 0.1),
  "=": () => turn(state.opacity + 0.1),
  m: () => { state.first = step(state.first, 1, set().methods.length); refresh(); },
  n: () => { state.second = step(state.second + 1, 1, set().methods.length + 1) - 1; refresh(); },
  x: () => { if (state.second !== NOTHING) { [state.first, state.second] = [state.second, state.first]; refresh(); } },
  p: () => {
    const names = set().methods[state.first].protocols;
    state.protocol = names[step(names.indexOf(state.protocol), 1, names.length)];
    refresh();
  },
  s: () => sortBy(step(state.order, 1, ORDERS.length)),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open || event.target.tagName === "SELECT") return;
  if (event.target.id === "opacity" && event.key.startsWith("Arrow")) return;  // the slider's own keys
  if (KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key](event);
  }
});

byId("set").addEventListener("change", (event) => openSet(Number(event.target.value)));
byId("first").addEventListener("change", (event) => { state.first = Number(event.target.value); refresh(); });
byId("second").addEventListener("change", (event) => { state.second = Number(event.target.value); refresh(); });
byId("protocol").addEventListener("change", (event) => {
  state.protocol = set().methods[state.first].protocols[Number(event.target.value)];
  refresh();
});
byId("order").addEventListener("change", (event) => sortBy(Number(event.target.value)));
byId("opacity").addEventListener("input", (event) => turn(Number(event.target.value) / 100));
byId("point").addEventListener("input", (event) => go(Number(event.target.value)));
byId("help").addEventListener("click", () => byId("keys").showModal());

data.sets.forEach((each) => each.samples.forEach((sample, place) => { sample.place = place; }));
byId("set-label").hidden = data.sets.length < 2;
byId("notes").append(...data.notes.map((note) => element("p", {}, note)));
const measure = () => document.documentElement.style.setProperty("--header", `${document.querySelector("header").offsetHeight}px`);
addEventListener("resize", measure);
measure();
openSet(0);
