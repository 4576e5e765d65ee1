// What only the browser can do for an explorer: page_script.py says what and why, and
// puts connection_script.js before it.

const setName = (element, name) => {
  if (element && name && element.getAttribute("aria-label") !== name)
    element.setAttribute("aria-label", name);
};

// The value in words: a slider through names has the index alone.
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
    setName(handle, name);
    sayValue(handle);
    if (slider.matches(".pfv-choice")) continue;  // its readout only looks editable
    const readout = slider.querySelector(".widget-readout[contenteditable=true]");
    readout?.setAttribute("role", "textbox");
    setName(readout, name && `${name}, as a number`);
  }
};

const nameButtons = (root) => {
  for (const button of root.querySelectorAll("button[title]")) {
    const text = button.textContent.trim();
    if (!/\p{L}{2}/u.test(text)) setName(button, text ? `${text}: ${button.title}` : button.title);
    else button.removeAttribute("aria-label");  // its text may have had no words before
  }
};

// ipywidgets writes the help of a field of lines beside it, where no reader takes it for its name.
const nameFields = (root) => {
  for (const field of root.querySelectorAll(".widget-textarea textarea")) {
    const box = field.closest(".widget-textarea");
    const { title } = [field, box, ...box.querySelectorAll("[title]")].find((one) => one.title) ?? {};
    setName(field, title);
  }
};

const namePictures = (root, pictures) => {
  for (const [kind, [role, name]] of Object.entries(pictures))
    for (const picture of root.querySelectorAll(`:is(canvas, img).pfv-${kind}`)) {
      picture.setAttribute("role", role);
      setName(picture, name);
    }
};

// ipywidgets repeats a label that holds its help as HTML, and writes null where there is none.
const cleanTitles = (root) => {
  for (const one of root.querySelectorAll("[title]")) {
    const { title } = one;
    if (title === "null") one.removeAttribute("title");
    else if (title.startsWith("<span "))
      one.title = new DOMParser().parseFromString(title, "text/html").querySelector("span").title;
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
    nameFields(root);
    namePictures(root, model.get("pictures"));
    cleanTitles(root);
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
  watchConnection(root, model, signal);
  askOnce(model).catch(console.warn);
  wakeTabs(model).catch(console.warn);

  const clicked = async (event) => {
    const button = event.target.closest?.("button.pfv-copy");
    if (!button || button.closest(".pfv-explorer") !== root) return;  // or of one inside this one
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

  // Every canvas takes the wheel for itself: where no kernel listens to it, the page scrolls.
  const turned = (event) => {
    if (event.target.matches?.("canvas:not(.pfv-wheel)")) event.stopPropagation();
  };
  root.addEventListener("wheel", turned, { signal, capture: true, passive: true });

  root.classList.add("pfv-scripted");
};

// A file of the kernel's, saved where the browser saves downloads.
const save = (name, content) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
};

export default {
  initialize({ model }) {  // once for a page, however many views it has
    const heard = (message, [content]) => {
      if (message.download && document.visibilityState === "visible")
        save(message.download, content);
    };
    model.on("msg:custom", heard);
    const leaving = new AbortController();
    showLate(model.widget_manager, leaving.signal).catch(console.warn);
    return () => {
      leaving.abort();
      model.off("msg:custom", heard);
    };
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
