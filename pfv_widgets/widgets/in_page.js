// What only the page itself can do for an explorer; in_page.py says what and why.

const call = (element, name) => {
  if (element && name && element.getAttribute("aria-label") !== name)
    element.setAttribute("aria-label", name);
};

// The value in words: a slider through names has the number of the place alone.
const sayValue = (handle) => {
  const readout = handle.closest(".widget-slider")?.querySelector(".widget-readout");
  const text = readout?.textContent.trim();
  if (text && handle.getAttribute("aria-valuetext") !== text)
    handle.setAttribute("aria-valuetext", text);
};

const nameSliders = (root) => {
  for (const slider of root.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label");
    const name = label?.textContent.trim() || label?.title;
    const handle = slider.querySelector(".noUi-handle");
    if (!handle) continue;  // it is being made
    call(handle, name);
    sayValue(handle);
    if (slider.matches(".pfv-choice")) continue;  // its readout only looks editable
    const readout = slider.querySelector(".widget-readout[contenteditable=true]");
    readout?.setAttribute("role", "textbox");
    call(readout, name && `${name}, as a number`);
  }
};

const nameButtons = (root) => {
  for (const button of root.querySelectorAll("button[title]")) {
    const text = button.textContent.trim();
    if (!/\p{L}{2}/u.test(text)) call(button, text ? `${text}: ${button.title}` : button.title);
    else button.removeAttribute("aria-label");  // its text may have had no words before
  }
};

const namePictures = (root, pictures) => {
  for (const [kind, [role, name]] of Object.entries(pictures))
    for (const picture of root.querySelectorAll(`:is(canvas, img).pfv-${kind}`)) {
      picture.setAttribute("role", role);
      call(picture, name);
    }
};

// The text field nearest to a button: the one in the smallest box that holds both.
const fieldOf = (button) => {
  for (let box = button.parentElement; box; box = box.parentElement) {
    const field = box.querySelector("textarea");
    if (field) return field;
  }
};

const copy = async (field, button) => {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {  // pages without https have no clipboard, but may copy what is selected
    field.focus();
    field.select();
    const copied = document.execCommand("copy");
    if (copied) button.focus();  // else the text stays selected, for Ctrl+C
    return copied;
  }
};

const attached = async (element, signal) => {
  while (!element.isConnected && !signal.aborted)
    await new Promise((resolve) => setTimeout(resolve, 50));
};

const serve = (root, model, signal) => {
  const nameAll = () => {
    nameSliders(root);
    nameButtons(root);
    namePictures(root, model.get("pictures"));
  };
  let planned = 0, since = 0;
  const later = () => {  // a picture in work goes first, but not for ever
    const now = performance.now();
    since ||= now;
    clearTimeout(planned);
    planned = setTimeout(() => { since = 0; nameAll(); }, now - since > 1000 ? 0 : 100);
  };
  const watch = new MutationObserver((changes) => {
    for (const { attributeName, target } of changes)
      if (attributeName === "aria-valuetext") sayValue(target);
    later();
  });
  watch.observe(root, {
    childList: true,
    subtree: true,
    characterData: true,
    attributeFilter: ["title", "aria-valuetext"],
  });
  signal.addEventListener("abort", () => {
    watch.disconnect();
    clearTimeout(planned);
  });
  nameAll();

  const clicked = async (event) => {
    const button = event.target.closest?.("button.pfv-copy");
    if (!button) return;
    const field = fieldOf(button), characters = field.value.length;
    const copied = characters > 0 && await copy(field, button);
    button.classList.toggle("pfv-copied", copied);
    setTimeout(() => button.classList.remove("pfv-copied"), 2000);
    try {
      model.send({ copied, characters });
    } catch {  // its kernel is gone: the button has said it
    }
  };
  root.addEventListener("click", clicked, { signal });

  // A canvas takes every key for itself: Tab goes on from it as from any control, and the
  // kernel is told by a name of its own, since it answers Tab by taking the focus away.
  const pressed = (event) => {
    if (event.key !== "Tab" || !event.isTrusted || event.target.tagName !== "CANVAS") return;
    event.stopPropagation();
    event.target.dispatchEvent(new KeyboardEvent("keydown", { key: "Leave" }));
  };
  root.addEventListener("keydown", pressed, { signal, capture: true });
  root.classList.add("pfv-scripted");
};

// Pixels of a picture as pictures.py writes it; nothing of any other.
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

// Lets stores draw uncompressed pictures at once: ipycanvas loads each as a file.
const hasten = async (model) => {
  for (const id of model.get("stores")) {
    const store = await model.widget_manager.get_model(id), load = store.putImageData;
    if (typeof load !== "function" || !store.ctx) return false;  // another ipycanvas
    store.putImageData = async function (place, files) {
      const picture = unpacked(files[0]);
      if (picture) this.ctx.putImageData(picture, ...place);
      else await load.call(this, place, files);
    };
  }
  return true;
};

// The part of a message that puts a gallery together, if it draws the heatmaps in one piece: then
// `alpha` is the place of the command that says how opaque they are.
const composition = (commands, { codes, gallery, heat }) => {
  const turns = ([code]) => code === codes.switchCanvas;
  const from = commands.findIndex((one) => turns(one) && one[1][0] === gallery);
  if (from < 0) return;
  const end = commands.findIndex((one, place) => place > from && turns(one));
  const part = commands.slice(from, end < 0 ? undefined : end + 1);  // it turns away again
  const drawn = part.findIndex(([code, [what]]) => code === codes.drawImage && heat.includes(what));
  const before = part.slice(0, Math.max(0, drawn));
  const alpha = before.findLastIndex(([code, [what]]) => code === codes.set && what === codes.alpha);
  return { part, alpha: before.some(([code]) => code === codes.save) ? -1 : alpha };
};

// Opacity and view follow the hand without the kernel: what it put together last is drawn again
// with the heatmaps as opaque as the controls say now. Its own picture comes later, and is the
// same; where the hand has gone on in the meantime, it is drawn over before anyone sees it.
const follow = async (model) => {
  const live = model.get("live");
  if (!live.gallery) return;
  const find = (id) => model.widget_manager.get_model(id.replace("IPY_MODEL_", ""));
  const [gallery, opacity, view] = await Promise.all(
    [live.gallery, live.opacity, live.view].map(find));
  const manager = gallery.get("_canvas_manager");
  if (typeof manager?.processCommand !== "function" || !manager.currentProcessing?.then) return;
  const wanted = () => {
    const fixed = live.alphas[view.get("index")];
    return fixed === "opacity" ? opacity.get("value") : fixed;
  };
  let last, planned = false;
  const draw = async () => {
    planned = false;
    const alpha = wanted();
    if (!(last?.alpha >= 0) || alpha === "none") return;
    const part = last.part.slice();
    part[last.alpha] = [live.codes.set, [live.codes.alpha, alpha], 0];
    try {
      manager.canvasesToUpdate = [];
      await manager.processCommand(part, []);
      gallery.syncViews();
    } catch (error) {  // the queue of all canvases must go on
      console.warn(error);
      last = undefined;
    }
  };
  const plan = () => {
    if (planned || !(last?.alpha >= 0)) return;
    planned = true;
    manager.currentProcessing = manager.currentProcessing.then(draw);
  };
  const heard = (_, buffers) => {
    if (!buffers?.length) return;
    const all = JSON.parse(new TextDecoder().decode(buffers[0]));
    const found = Array.isArray(all[0]) ? composition(all, live) : undefined;
    if (!found) return;
    last = found;
    if (last.alpha >= 0 && last.part[last.alpha][1][1] !== wanted()) plan();
  };
  manager.on("msg:custom", heard);
  opacity.on("change:value", plan);
  view.on("change:index", plan);
  return () => {
    manager.off("msg:custom", heard);
    opacity.off("change:value", plan);
    view.off("change:index", plan);
  };
};

const HERE = ["localhost", "127.0.0.1", "[::1]"];

export default {
  async initialize({ model }) {
    const near = await hasten(model) && HERE.includes(location.hostname);
    model.send({ near });
    return await follow(model);
  },
  render({ model, el }) {
    const leaving = new AbortController();
    attached(el, leaving.signal).then(() => {
      const root = el.closest(".pfv-explorer");
      if (root && !leaving.signal.aborted) serve(root, model, leaving.signal);
    });
    return () => leaving.abort();
  },
};
