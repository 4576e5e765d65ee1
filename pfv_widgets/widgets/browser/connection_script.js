// Says that the connection to the kernel is lost, and catches up when it is back, and once at first;
// shows an explorer that a page gave up on while it was loaded, and brings its tabs to life.

const EDITABLE = ["value", "index", "selected_index"], SHOWN_ONLY = /^(HTML|Label|Image)Model$/;
const SOON = 400;  // ms after which a connection that is lost is worth a word

// All models of an explorer, from its own down.
const modelsBelow = (model) => {
  const children = model.get("children") ?? [];
  return [model, ...children.flatMap((child) => (child?.get ? modelsBelow(child) : []))];
};

// An answer that was on its way is lost: ipywidgets would wait for it, and hold back every later
// change of this control and every word of the kernel about it. What a person has set goes out.
const release = (model) => {
  const waits = model._pending_msgs > 0 || model._msg_buffer || model._expectedEchoMsgIds?.size;
  model._expectedEchoMsgIds?.clear();
  if (!waits) return;
  const set = model._msg_buffer ?? {};
  for (const key of EDITABLE)
    if (model.keys?.().includes?.(key) || model.has?.(key)) set[key] ??= model.get(key);
  [model._pending_msgs, model._msg_buffer] = [0, null];
  const sent = model.comm?.send({ method: "update", state: set, buffer_paths: [] }, model.callbacks?.());
  // an older change that goes out only now is answered first: it must not move the control back
  if (sent) for (const key of Object.keys(set)) model._expectedEchoMsgIds?.set(key, sent);
};

const isControl = (model) => !SHOWN_ONLY.test(model.get("_model_name"));

// What each control shows; not those of which the kernel is yet to hear.
const valuesOf = (models) => {
  const values = {};
  for (const one of models.filter(isControl)) {
    if (one._pending_msgs > 0 || one._msg_buffer) continue;
    const set = EDITABLE.filter((key) => one.get(key) !== undefined);
    if (set.length) values[one.model_id] = Object.fromEntries(set.map((key) => [key, one.get(key)]));
  }
  return values;
};

// The page's manager reads all states of the kernel when it is connected, at first twice at once, and
// may get them before what is set here arrives there: what controls show would go back to that. They
// keep it; where something else was read, the kernel is asked for values once the reading has ended.
const keepValues = (models, differs) => {
  for (const one of models) {
    if (Object.hasOwn(one, "set_state")) continue;
    one.set_state = function (state) {
      const kept = "_model_name" in state ? EDITABLE.filter((key) => key in state) : [];
      if (kept.some((key) => JSON.stringify(state[key]) !== JSON.stringify(this.get(key)))) differs();
      const rest = Object.entries(state).filter(([key]) => !kept.includes(key));
      return Object.getPrototypeOf(this).set_state.call(this, Object.fromEntries(rest));
    };
  }
};

let differed = false;  // what was read from what controls show, since the kernel was asked
const keep = ({ widget_manager }, models) => {
  if (widget_manager?.restored) keepValues(models.filter(isControl), () => { differed = true; });
};

const explorerOf = async (model) => model.widget_manager.get_model(model.get("explorer"));

// A page hears of no change before it has made the model: once it has all, it asks for them anew.
let asked = false;  // this script is loaded once for each explorer of a page
const askOnce = async (model) => {
  if (asked || !model.get("explorer")) return;
  asked = true;
  const models = await explorerOf(model).then(modelsBelow, () => []);  // not every page has them
  keep(model, models);
  model.send({ ready: valuesOf(models) });
};

// JupyterLab puts a cell into the page once the browser has time: of what is rendered by then nobody
// says that it is about to be attached, and only from there on a bar of tabs listens. Twice is no harm.
const wakeTabs = async (model) => {
  const tabs = modelsBelow(await explorerOf(model)).filter((one) => one.get("_model_name") === "TabModel");
  for (const view of tabs.flatMap((one) => Object.values(one.views ?? {})))
    (await view).luminoWidget?.tabBar?.processMessage({ type: "before-attach" });
};

// A page that is loaded anew looks two seconds long for the model of an output, and not once more
// after a pause in which it has made the models: such an output is rendered again.
const GIVEN_UP = "Error displaying widget: model not found";
const VIEW = "application/vnd.jupyter.widget-view+json", LOOKS = 20, PAUSE = 500;  // ms

const outputsOf = (cells) =>
  Array.from(cells, (cell) => cell.outputs).filter(Boolean).flatMap((outputs) =>
    Array.from({ length: outputs.length }, (_, index) => [outputs, index]));

const hasNoView = async (manager, id) =>
  manager.has_model(id) && !Object.keys((await manager.get_model(id)).views ?? {}).length;

const showLate = async (manager, signal) => {
  const cells = manager?.context?.model?.cells;  // of a notebook in JupyterLab or Notebook
  if (!cells) return;
  for (let look = 0; look < LOOKS && !signal.aborted; look++) {
    await new Promise((done) => setTimeout(done, PAUSE));
    const shown = document.querySelectorAll(".jp-OutputArea-output");
    if (![...shown].some(({ textContent }) => textContent === GIVEN_UP)) continue;
    for (const [outputs, index] of outputsOf(cells)) {
      const output = outputs.get(index), id = output.data[VIEW]?.model_id;
      if (id && (await hasNoView(manager, id))) outputs.set(index, output.toJSON());
    }
  }
};

const watchConnection = (root, model, signal) => {
  const manager = model.widget_manager, kernel = manager?.kernel;
  if (!kernel?.connectionStatusChanged) return;  // another front end than those that are known
  let planned = 0, lost = false;
  const back = async () => {
    root.classList.remove("pfv-offline");
    const models = modelsBelow(await explorerOf(model));
    keep(model, models);
    models.forEach(release);
    model.send({ back: valuesOf(models) });
  };
  const restored = async () => {
    if (!differed) return;
    differed = false;
    model.send({ ready: valuesOf(modelsBelow(await explorerOf(model))) });
  };
  const changed = () => {
    clearTimeout(planned);
    if (kernel.connectionStatus !== "connected") {
      lost = true;
      planned = setTimeout(() => root.classList.add("pfv-offline"), SOON);
    } else if (lost) {
      lost = false;
      back().catch(console.warn);
    }
  };
  kernel.connectionStatusChanged.connect(changed);
  manager.restored?.connect(restored);
  signal.addEventListener("abort", () => {
    clearTimeout(planned);
    kernel.connectionStatusChanged.disconnect(changed);
    manager.restored?.disconnect(restored);
  });
};
