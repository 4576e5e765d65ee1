// What the browser draws of one gallery by itself: uncompressed pictures, and what follows a control at once.
// gallery_script.py says why, and puts tile_compositing.js before it.

// Pixels of a picture as image_encoding.py writes it; nothing of any other.
const unpacked = (file) => {
  const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(file) ? file : new DataView(file);
  const view = new DataView(buffer, byteOffset, byteLength);
  if (byteLength < 66 || view.getUint16(0) !== 0x424d || view.getUint16(28, true) !== 16) return;
  const start = byteOffset + view.getUint32(10, true);
  const width = view.getInt32(18, true), height = -view.getInt32(22, true);
  const across = width + width % 2;
  const words = new Uint16Array(buffer.slice(start, start + 2 * across * height));
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let row = 0, to = 0; row < height; row++)
    for (let from = row * across, end = from + width; from < end; from++) {
      const word = words[from], red = word >> 11, green = word >> 5 & 63, blue = word & 31;
      pixels[to++] = 0xff << 24 | (blue << 3 | blue >> 2) << 16
        | (green << 2 | green >> 4) << 8 | (red << 3 | red >> 2);
    }
  return picture;
};

const LATE = 5000;  // ms that a picture may take to be drawn

const inTime = (job) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("a picture was not drawn in time")), LATE);
  });
  return Promise.race([job, late]).finally(() => clearTimeout(timer));
};

// Lets buffers draw uncompressed pictures at once: ipycanvas loads each as a file, keeps every file
// until the page is left, and waits for one that is no picture for ever.
const hasten = async (model) => {
  for (const id of model.get("buffers")) {
    const buffer = await model.widget_manager.get_model(id);
    if (typeof buffer.putImageData !== "function" || !buffer.ctx) return false;  // another ipycanvas
    buffer.putImageData = async function (position, [file]) {
      const picture = unpacked(file);
      if (picture) return this.ctx.putImageData(picture, ...position);
      const image = await inTime(createImageBitmap(new Blob([file], { type: "image/jpeg" })));
      this.ctx.drawImage(image, ...position);
      image.close();
    };
  }
  return true;
};

const TIMES = 3;  // how often a page asks for everything anew

// A command that fails stops all that ipycanvas draws on a page, for good. Here the next one is
// drawn all the same, and every gallery asks for everything anew.
const guard = async (model, ask) => {
  const buffer = await model.widget_manager.get_model(model.get("buffers")[0]);
  const manager = buffer.get("_canvas_manager");
  if (typeof manager?.onCommand !== "function" || !manager.currentProcessing?.then) return;
  if (!manager.pfvAsking) {
    const asking = (manager.pfvAsking = new Set()), draw = manager.onCommand;
    const failed = (error) => {
      console.warn(error);
      asking.forEach((one) => one());
    };
    manager.onCommand = async function (...message) {
      await draw.apply(this, message).catch(failed);
    };
    manager.currentProcessing = inTime(manager.currentProcessing).catch(failed);
  }
  let left = TIMES;
  const one = () => left-- > 0 && ask();
  manager.pfvAsking.add(one);
  return () => manager.pfvAsking.delete(one);
};

const REST = 500;  // ms after which nothing older is on its way

// Whether the kernel shows what a person has set; it may round the divider in another way.
const same = (name, one, other) =>
  one === other || Math.abs(one - other) < (name === "split" ? 0.011 : 1e-6);

// Id of a gallery → what hears its pointer; a view of the gallery passes events on.
const pointers = {};

// Opacity, view and split follow the user without the kernel: the picture that the kernel described
// last is drawn again as the controls say now. The kernel's own picture comes later and is the same;
// where the user has moved on in the meantime, it is drawn over before anyone sees it.
const follow = async (model) => {
  const live = model.get("live"), find = (id) => model.widget_manager.get_model(id);
  if (!live.gallery) return;
  const gallery = await find(live.gallery), manager = gallery.get("_canvas_manager");
  const buffers = await Promise.all(model.get("buffers").map(find));
  const known = buffers.every(({ canvas }) => canvas) && gallery.ctx && gallery.syncViews;
  if (!known || !manager?.currentProcessing?.then) return;  // another ipycanvas
  const leave = [], edits = {};  // what a person set last, until the kernel shows it or sets another
  let description, shown = "", planned = false, resting = 0;
  let drag, late = false, released = 0;  // the divider is held; the kernel has not yet come to it
  const queue = (job) => {  // after all that was sent before is drawn
    manager.currentProcessing = manager.currentProcessing.then(job).catch(console.warn);
  };
  const wanted = () => ({ ...description?.look, ...edits });
  const tiles = (look) => new Tiles(buffers, description, look, live.constants);
  const draw = () => {
    planned = false;
    const look = wanted(), text = JSON.stringify(look);
    if (!description || text === shown) return;
    const picture = tiles(look), { width, height } = picture.stored.size;
    const { gap } = live.constants, [{ canvas }] = buffers;
    if (canvas.width !== width + gap || canvas.height !== height + gap) return;  // another page comes
    shown = text;
    gallery.set(picture.grid.size);  // the kernel sets the same
    picture.draw(gallery.ctx);
    gallery.syncViews();
  };
  const plan = () => {
    if (!planned) queue(draw);
    planned = true;
  };
  const settle = () => {
    for (const name of Object.keys(edits))
      if (!drag && description && same(name, description.look[name], edits[name])) forget(name);
  };
  const forget = (name) => {
    delete edits[name];
    if (name === "split") late = false;
    plan();
  };
  const move = (name, value) => {
    edits[name] = typeof value === "number" ? Math.round(1e9 * value) / 1e9 : value;
    rest();
    plan();
  };
  const rest = () => {
    clearTimeout(resting);
    resting = setTimeout(settle, REST);
  };
  const hear = (source, event, heard) => {
    source.on(event, heard);
    leave.push(() => source.off(event, heard));
  };
  hear(manager, "msg:custom", ({ description: now }) => {
    if (now?.gallery === live.gallery)
      queue(() => {
        description = now;
        const { size } = tiles(now.look).grid;
        const sized = gallery.get("width") === size.width && gallery.get("height") === size.height;
        shown = sized ? JSON.stringify(now.look) : "";
        if (!drag && same("split", now.look.split, edits.split)) late = false;
        rest();
        draw();
      });
  });
  for (const [name, id] of Object.entries(live.knobs)) {
    const knob = await find(id), key = name === "view" ? "index" : "value";
    hear(knob, `change:${key}`, () => {
      const value = knob.get(key), kernels = knob._state_lock;
      if (Math.abs(value - knob.previous(key)) < 1e-6) return;  // a slider may only count otherwise
      if (name === "split" && late && kernels) {  // it may say where the divider was a moment ago
        late = Boolean(drag) || !same(name, value, edits.split);
        if (drag || performance.now() - released < 2 * REST) return;
      }
      if (name === "split") late = false;
      if (kernels) forget(name);
      else move(name, name === "view" ? live.views[value] : value);
    });
  }

  // The divider is dragged, as gestures.py says; the kernel hears of it as well.
  pointers[live.gallery] = ({ type, target, clientX, clientY }) => {
    const box = target.getBoundingClientRect(), scale = target.width / box.width;
    const x = (clientX - box.left) * scale, y = (clientY - box.top) * scale;
    const grid = description && new Grid(description.grids[1], live.constants.gap);
    if (type === "mousedown") {
      const at = live.constants.views[wanted().view]?.panes.flat().some((layer) => layer.divided) ? grid?.at(x, y) : undefined;
      drag = at === undefined ? undefined : { x, y, at };
    } else if (drag && type === "mousemove") {
      const far = Math.max(Math.abs(x - drag.x), Math.abs(y - drag.y)) > live.constants.still;
      if (!far && !drag.moved) return;
      drag.moved = late = true;
      const split = Math.min(Math.max(drag.at + (x - drag.x) / grid.width, 0), 1);
      move("split", Math.round(100 * split) / 100);
    } else if (drag) {
      if (late) late = !same("split", description.look.split, edits.split);
      [drag, released] = [undefined, performance.now()];
      rest();
    }
  };
  return () => {
    leave.forEach((one) => one());
    clearTimeout(resting);
    delete pointers[live.gallery];
  };
};

const BAR = 24, RESTED = 400;  // CSS pixels of a scroll bar at most, and ms
const HERE = ["localhost", "127.0.0.1", "[::1]"];

const attached = async (element, signal) => {
  while (!element.isConnected && !signal.aborted)
    await new Promise((resolve) => setTimeout(resolve, 50));
};

// Width beside the controls of an explorer, and height of the window without bars.
const roomFor = (box) => {
  const body = box.closest(".pfv-body"), side = body?.querySelector(":scope > .pfv-side");
  if (!side || !body.clientWidth) return;
  const { flexDirection, columnGap } = getComputedStyle(body);
  const beside = parseFloat(getComputedStyle(side).flexBasis) + parseFloat(columnGap);
  const width = body.clientWidth - (flexDirection === "row" ? beside : 0);
  const bars = parseFloat(getComputedStyle(body).getPropertyValue("--pfv-bars")) || 0;
  return width > 0 && innerHeight > bars ? [width, innerHeight - bars] : undefined;
};

// Sends how much room there is, and again once an edge that is dragged rests. A bar that comes
// with more rows is no other room: the page would turn to and fro.
const sendRoom = (box, model, signal) => {
  let sent = [0, 0], planned = 0;
  const send = () => {
    const room = roomFor(box);
    if (!room || room.every((side, i) => Math.abs(side - sent[i]) < BAR)) return;
    sent = room;
    model.send({ room });
  };
  const later = () => {
    clearTimeout(planned);
    planned = setTimeout(send, RESTED);
  };
  const body = box.closest(".pfv-body"), watch = new ResizeObserver(later);
  if (body) watch.observe(body);
  window.addEventListener("resize", later, { signal });
  signal.addEventListener("abort", () => {
    watch.disconnect();
    clearTimeout(planned);
  });
  send();
};

// The box around one gallery: what happens on another one beside it is not heard.
const listen = (box, model, signal) => {
  const points = (event) => {
    if (event.target.matches?.("canvas.pfv-gallery")) pointers[model.get("live").gallery]?.(event);
  };
  for (const type of ["mousedown", "mousemove", "mouseup", "mouseout"])
    box.addEventListener(type, points, { signal });
};

export default {
  async initialize({ model }) {
    const quick = await hasten(model).catch(console.warn);  // without any of them, all else works
    const follows = await follow(model).catch(console.warn);
    const near = Boolean(quick) && HERE.includes(location.hostname);
    const ask = () => model.send({ near });  // for everything: it hears from here
    const guards = await guard(model, ask).catch(console.warn);
    ask();
    return () => [follows, guards].forEach((leave) => leave?.());
  },
  render({ model, el }) {
    const leaving = new AbortController();
    attached(el, leaving.signal).then(() => {
      const box = el.closest(".pfv-gallery-view");
      if (!box || leaving.signal.aborted) return;
      listen(box, model, leaving.signal);
      sendRoom(box, model, leaving.signal);
    });
    return () => leaving.abort();
  },
};
