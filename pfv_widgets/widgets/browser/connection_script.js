// Says that the connection to the kernel is lost, and catches up when it is back.

const SOON = 400;  // ms after which a connection that is lost is worth a word

// All models of an explorer, from its own down.
const modelsBelow = (model) => {
  const children = model.get("children") ?? [];
  return [model, ...children.flatMap((child) => (child?.get ? modelsBelow(child) : []))];
};

// An answer that was on its way is lost: ipywidgets would wait for it, and hold back every later
// change of this control and every word of the kernel about it. What a person has set goes out.
const release = (model) => {
  const waits = model._pending_msgs > 0 || model._msg_buffer;
  model._expectedEchoMsgIds?.clear();
  if (!waits) return;
  const set = model._msg_buffer ?? {};
  for (const key of ["value", "index"])
    if (model.keys?.().includes?.(key) || model.has?.(key)) set[key] ??= model.get(key);
  [model._pending_msgs, model._msg_buffer] = [0, null];
  model.comm?.send({ method: "update", state: set, buffer_paths: [] }, model.callbacks?.());
};

const watchConnection = (root, model, signal) => {
  const manager = model.widget_manager, kernel = manager?.kernel;
  if (!kernel?.connectionStatusChanged) return;  // another front end than those that are known
  let planned = 0, lost = false;
  const back = async () => {
    root.classList.remove("pfv-offline");
    const explorer = await manager.get_model(model.get("explorer"));
    modelsBelow(explorer).forEach(release);
    model.send({ back: true });
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
  signal.addEventListener("abort", () => {
    clearTimeout(planned);
    kernel.connectionStatusChanged.disconnect(changed);
  });
};
