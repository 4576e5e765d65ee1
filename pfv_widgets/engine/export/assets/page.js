"use strict";
(() => {
  const NEIGHBOURS = 8; // as many tiles show where they are most like the position
  const data = JSON.parse(document.getElementById("data").textContent);
  const [count, number, rows, columns] = data.shape;
  const positions = rows * columns;
  const scores = decoded(data.scores);
  const gallery = document.getElementById("gallery");
  const tiles = [...gallery.querySelectorAll("figure")];
  const pictures = tiles.map((tile) => tile.querySelector(".picture"));
  const line = document.getElementById("position");
  const spoken = document.getElementById("spoken");
  const values = [...document.querySelectorAll(".legend .value")];
  const swings = [...document.querySelectorAll(".legend .swing i")];
  const howTo = line.textContent;
  const rings = new Map();
  let current = 0; // the tile that the Tab key reaches
  let shown = null; // [tile, position]
  let held = false;
  let pending = null;

  function decoded(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 4 }, (_, index) =>
      view.getFloat32(4 * index, true));
  }

  function vector(tile, position) {
    const start = tile * number * positions + position;
    return Array.from({ length: number }, (_, k) => scores[start + k * positions]);
  }

  function nearest(tile, target) {
    let best = Infinity, at = 0;
    const start = tile * number * positions;
    for (let position = 0; position < positions; position++) {
      let sum = 0;
      for (let k = 0; k < number; k++)
        sum += (scores[start + k * positions + position] - target[k]) ** 2;
      if (sum < best) { best = sum; at = position; }
    }
    return { tile, position: at, distance: best };
  }

  function putRing(tile, position, like) {
    if (!rings.has(tile)) {
      const made = document.createElement("div");
      made.setAttribute("aria-hidden", "true");
      pictures[tile].append(made);
      rings.set(tile, made);
    }
    const ring = rings.get(tile);
    ring.className = like ? "ring like" : "ring";
    ring.hidden = false;
    ring.style.left = `${100 * ((position % columns) + 0.5) / columns}%`;
    ring.style.top = `${100 * (Math.floor(position / columns) + 0.5) / rows}%`;
  }

  function signed(value) {
    return (value < 0 ? "−" : "+") + Math.abs(value).toPrecision(3);
  }

  function show(tile, position) {
    shown = [tile, position];
    const target = vector(tile, position);
    const others = tiles.map((_, other) => other).filter((other) => other !== tile)
      .map((other) => nearest(other, target)).sort((a, b) => a.distance - b.distance);
    rings.forEach((ring) => { ring.hidden = true; });
    putRing(tile, position, false);
    others.slice(0, NEIGHBOURS).forEach((one) => putRing(one.tile, one.position, true));
    describe(tile, position, target);
  }

  function describe(tile, position, target) {
    const name = document.createElement("b");
    name.textContent = pictures[tile].dataset.name;
    const label = pictures[tile].dataset.label;
    const where = `row ${Math.floor(position / columns) + 1} of ${rows}, ` +
      `column ${(position % columns) + 1} of ${columns}`;
    const rest = [label, where, held ? "held: click, or press Escape, to release it" : ""].filter(Boolean);
    line.replaceChildren(name, ` · ${rest.join(" · ")}`);
    target.forEach((value, k) => {
      values[k].textContent = signed(value);
      const share = 50 * Math.min(1, Math.abs(value) / (data.largest[k] || 1));
      swings[k].style.left = `${value < 0 ? 50 - share : 50}%`;
      swings[k].style.width = `${share}%`;
    });
  }

  function clear() {
    shown = null;
    held = false;
    pending = null;
    rings.forEach((ring) => { ring.hidden = true; });
    line.textContent = howTo;
    values.forEach((value) => { value.textContent = "–"; });
    swings.forEach((swing) => { swing.style.width = "0"; });
  }

  function under(event) {
    const picture = event.target.closest(".picture");
    if (!picture) return null;
    const box = picture.getBoundingClientRect();
    const column = Math.floor(columns * (event.clientX - box.left) / box.width);
    const row = Math.floor(rows * (event.clientY - box.top) / box.height);
    const inside = (value, most) => Math.min(Math.max(value, 0), most - 1);
    return [pictures.indexOf(picture), inside(row, rows) * columns + inside(column, columns)];
  }

  function soon(target) { // once a frame: a mouse moves more often
    const idle = pending === null;
    pending = target;
    if (idle) requestAnimationFrame(() => { if (pending) show(...pending); pending = null; });
  }

  function step(key, whole) {
    let [tile, position] = shown ?? [current, Math.floor(rows / 2) * columns + Math.floor(columns / 2)];
    if (!shown) return [tile, position];
    let row = Math.floor(position / columns), column = position % columns;
    const abreast = getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
      ArrowRight: [0, 1] }[key];
    row += whole ? 0 : down;
    column += whole ? 0 : right;
    const leaves = whole || row < 0 || column < 0 || row >= rows || column >= columns;
    const next = leaves ? tile + right + abreast * down : tile;
    if (next < 0 || next >= count) return [tile, position];
    return [next, ((row + rows) % rows) * columns + ((column + columns) % columns)];
  }

  function focusOn(tile) {
    tiles[current].tabIndex = -1;
    tiles[current].setAttribute("aria-selected", "false");
    tiles[tile].tabIndex = 0;
    tiles[tile].setAttribute("aria-selected", "true");
    current = tile;
    tiles[tile].focus();
  }

  function go(target) {
    focusOn(target[0]);
    show(...target);
    const numbers = vector(...target).map((value, k) => `${data.numbers[k]}: ${signed(value)}`);
    spoken.textContent = `${line.textContent}. Components ${numbers.join(", ")}`;
  }

  function pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    if (event.key.startsWith("Arrow")) go(step(event.key, event.shiftKey));
    else if (event.key === "Home") go([0, shown?.[1] ?? middle]);
    else if (event.key === "End") go([count - 1, shown?.[1] ?? middle]);
    else if (event.key === "Enter" || event.key === " ") {
      held = !held && shown !== null;
      if (shown) show(...shown);
    } else if (event.key === "Escape") clear();
    else return;
    event.preventDefault();
  }

  function clicked(event) {
    const target = under(event);
    if (!target) return;
    const was = held;
    held = false;
    if (!was || event.pointerType === "touch") {
      held = true;
      focusOn(target[0]);
    }
    show(...target);
  }

  gallery.addEventListener("pointermove", (event) => {
    const target = held || event.pointerType === "touch" ? null : under(event);
    if (target) soon(target);
  });
  gallery.addEventListener("pointerleave", (event) => {
    if (!held && event.pointerType !== "touch") clear();
  });
  gallery.addEventListener("click", clicked);
  gallery.addEventListener("keydown", pressed);
  gallery.addEventListener("focusin", (event) => {
    if (event.target.matches(":focus-visible") && !shown) go(step("ArrowDown", false));
  });
  document.querySelectorAll("input[name=view]").forEach((input) =>
    input.addEventListener("change", () => { gallery.dataset.view = input.value; }));
  document.getElementById("opacity").addEventListener("input", (event) => {
    document.documentElement.style.setProperty("--opacity", event.target.value / 100);
    document.getElementById("percent").textContent = `${event.target.value} %`;
  });
  document.getElementById("size").addEventListener("input", (event) => {
    document.documentElement.style.setProperty("--tile", `${event.target.value}px`);
  });
  const form = document.querySelector(".controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.reset(); // a browser that remembers fields would show another state than the pictures
  document.getElementById("without").remove();
  form.hidden = line.hidden = false;
})();
