// What the page does without asking the server: keys, examples, the image strip, recipes, before and after, light and dark.
// A desk is one tab's form and stage; all of this works on the desk that is shown.
(() => {
  const easel = (window.easel = window.easel || {});
  const find = (selector, root = document) => root.querySelector(selector);
  const shownDesk = () => [...document.querySelectorAll(".easel")].find((desk) => desk.offsetParent) || document.body;
  const current = (desk) => find('.frame[aria-pressed="true"]', desk) || find(".frame", desk);

  // Which forms the page has put back; `restored` once all are.
  const restored = new Set();
  easel.ready = (form) => restored.add(form);
  easel.isReady = (form) => restored.has(form);
  Object.defineProperty(easel, "restored", { get: () => (window.easelForms || []).every((form) => restored.has(form)) });
  easel.seed = () => (current(shownDesk())?.dataset.seed ? Number(current(shownDesk()).dataset.seed) : null);
  easel.selected = () => (current(shownDesk()) ? current(shownDesk()).dataset.id : "");
  // The form as the browser keeps it; until the page has put back the old one, the old one stays.
  easel.remember = (form, names, values) => {
    const kept = values[names.length];
    return restored.has(form) ? Object.fromEntries(names.map((name, index) => [name, values[index]])) : kept;
  };

  easel.make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "class") node.className = value;
      else if (typeof value === "boolean") node.toggleAttribute(name, value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };

  // A refusal that the browser itself learns of, told as Gradio tells its own.
  easel.refuse = (message, hint = "") => {
    const box = find(".refusals") || document.body.appendChild(easel.make("div", { class: "refusals", role: "alert" }));
    const close = easel.make("button", { type: "button", "aria-label": "Close" }, "×");
    const toast = easel.make("div", { class: "refusal" }, easel.make("strong", {}, "That did not work"), close, easel.make("p", {}, [message, hint].filter(Boolean).join(" ")));
    close.addEventListener("click", () => toast.remove());
    box.append(toast);
    setTimeout(() => toast.remove(), 12000);
  };

  // Work that must be done before a job may begin: images and masks on their way to the studio.
  const pending = new Set();
  easel.pending = (promise) => {
    pending.add(promise);
    const done = () => pending.delete(promise);
    promise.then(done, done);
    return promise;
  };
  easel.flush = new Map();  // node -> function that hands in at once what it would have handed in a little later

  const type = (box, text) => {
    const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value").set;
    setter.call(box, text);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const show = (frame) => {
    const root = frame.closest(".stage");
    root.querySelectorAll(".frame").forEach((other) => other.setAttribute("aria-pressed", String(other === frame)));
    const data = frame.dataset;
    const image = find(".canvas img.shown", root);
    if (!image) return;
    image.src = data.src;
    image.alt = data.alt;
    image.width = data.width;
    image.height = data.height;
    const recipe = find(".recipe", root);
    if (!recipe) return;
    find('[data-fact="size"]', recipe).textContent = `${data.width} × ${data.height}`;
    find('[data-fact="seed"]', recipe).textContent = data.seed && `Seed ${data.seed}`;
    find('[data-fact="model"]', recipe).textContent = data.model;
    const link = find('[data-act="download"]', recipe);
    link.href = data.src;
    link.download = data.name;
    const compares = find('[data-act="compare"]', recipe);
    compares.hidden = !data.before;
    compare(root, compares.getAttribute("aria-pressed") === "true" && Boolean(data.before));
    chain(find(".chain", recipe), JSON.parse(data.chain || "[]"));
    view(recipe, find('.segment[aria-pressed="true"]', recipe).dataset.view);
  };

  const view = (recipe, name) => {
    recipe.querySelectorAll(".segment").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.view === name)));
    const frame = current(recipe.closest(".stage"));
    find("[data-text]", recipe).textContent = frame ? frame.dataset[name] : "";
  };

  const chain = (list, steps) => {
    list.replaceChildren(...steps.map((step) => easel.make("li", {}, step)));
    list.hidden = steps.length < 2;
  };

  // Before and after: the source lies over the result up to a line that a slider moves.
  const compare = (root, on) => {
    const canvas = find(".canvas", root);
    const button = find('[data-act="compare"]', root);
    find(".compare", canvas)?.remove();
    button.setAttribute("aria-pressed", String(on));
    if (!on) return;
    const shown = find("img.shown", canvas);
    const before = easel.make("img", { src: current(root).dataset.before, alt: "The image before" });
    const after = easel.make("img", { src: shown.src, alt: "" });
    const slider = easel.make("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "Before and after" });
    const factor = easel.make("output", {}, "1×");
    const zooms = easel.make("div", { class: "compare-zoom" });
    const cover = easel.make("div", { class: "compare" }, easel.make("div", { class: "compare-side" }, after), easel.make("div", { class: "compare-side compare-before" }, before),
      easel.make("i", { "aria-hidden": "true" }), easel.make("span", {}, "Before"), easel.make("span", {}, "After"), slider, zooms);
    const zoom = (step) => {
      const wanted = Math.min(16, Math.max(1, (Number(cover.dataset.zoom) || 1) * step));
      cover.dataset.zoom = wanted;
      cover.style.setProperty("--zoom", wanted);
      factor.textContent = `${Math.round(wanted * 10) / 10}×`;
    };
    zooms.append(easel.make("button", { type: "button", class: "mini", "aria-label": "Zoom out", onclick: () => zoom(0.5) }, "−"), factor,
      easel.make("button", { type: "button", class: "mini", "aria-label": "Zoom in", onclick: () => zoom(2) }, "+"));
    slider.addEventListener("input", () => cover.style.setProperty("--at", `${slider.value}%`));
    // What lies under the pointer stays there while zooming, and the pointer moves over the enlarged image.
    slider.addEventListener("pointermove", (event) => {
      const box = cover.getBoundingClientRect();
      cover.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
      cover.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
    });
    slider.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.25 : 0.8); }, { passive: false });
    cover.style.setProperty("--at", "50%");
    canvas.append(cover);
  };

  const copy = async (button) => {
    const text = find("[data-text]", button.closest(".recipe")).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = easel.make("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 1500);
  };

  const enlarge = (image) => {
    const large = easel.make("img", { src: image.src, alt: image.alt });
    const dialog = easel.make("dialog", { class: "lightbox", "aria-label": image.alt }, large);
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => { dialog.remove(); image.focus(); });
    document.body.append(dialog);
    dialog.showModal();
  };

  document.addEventListener("click", (event) => {
    const target = event.target;
    const chip = target.closest(".chip");
    const frame = target.closest(".stage .frame");
    const segment = target.closest(".stage .segment");
    const act = target.closest(".stage [data-act]");
    if (chip) {
      const box = find(".prompt textarea", chip.closest(".easel"));
      type(box, chip.dataset.prompt);
      box.focus();
    } else if (frame) show(frame);
    else if (segment) view(segment.closest(".recipe"), segment.dataset.view);
    else if (act?.dataset.act === "copy") copy(act);
    else if (act?.dataset.act === "compare") compare(act.closest(".stage"), act.getAttribute("aria-pressed") !== "true");
    else if (target.matches(".stage img.shown:not(.forming)")) enlarge(target);
    else if (target.closest("#look")) look(document.body.classList.contains("dark") ? "light" : "dark", true);
  });

  // Generate waits for images that are still on their way.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.generate, button.waits");
    if (!button) return;
    easel.flush.forEach((now, node) => (node.isConnected ? now() : easel.flush.delete(node)));
    if (!pending.size) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    await Promise.allSettled([...pending]);
    setTimeout(() => button.click());
  }, true);

  document.addEventListener("keydown", (event) => {
    const desk = shownDesk();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const generate = find("button.generate", desk);
      if (generate && !generate.disabled && generate.offsetParent) {
        event.preventDefault();
        document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
        generate.click();
      }
    } else if (event.key === "Escape" && !find("dialog[open]") && !find("ul[role=listbox]") && !find(".paint.wide")) {
      const stop = find("button.stop", desk);
      if (stop && !stop.disabled && find(".stage", desk)?.dataset.status === "running") stop.click();
    } else if (event.key === "Enter" && event.target.matches?.(".stage img.shown:not(.forming)")) enlarge(event.target);
    else if (["ArrowLeft", "ArrowRight"].includes(event.key) && event.target.matches?.(".stage .frame")) {
      const next = event.key === "ArrowRight" ? event.target.nextElementSibling : event.target.previousElementSibling;
      if (next) { next.focus(); show(next); }
    }
  });

  const look = (wanted, keep) => {
    const dark = wanted === "dark" || (wanted === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.body.classList.toggle("dark", dark);
    if (keep) try { localStorage.setItem("easel-look", wanted); } catch { /* private mode */ }
  };
  // Gradio's buttons take no label of their own for those who cannot see the sign; tabs are built when they are first opened.
  const names = { swap: "Swap width and height", "seed-random": "Draw a new seed each time", "seed-reuse": "Use the shown image's seed" };
  const label = () => document.querySelectorAll("button.icon:not([aria-label])").forEach((button) => {
    const text = Object.entries(names).find(([name]) => button.id.endsWith(name))?.[1] || "";
    button.setAttribute("aria-label", text);
    button.title = text;
  });
  const begin = () => {
    let wanted = window.easelLook || "system";
    try { wanted = localStorage.getItem("easel-look") || wanted; } catch { /* private mode */ }
    look(wanted, false);
  };
  const watch = () => {
    begin();
    label();
    new MutationObserver(label).observe(document.body, { childList: true, subtree: true });
  };
  if (document.body) watch();
  else document.addEventListener("DOMContentLoaded", watch);
  window.addEventListener("load", () => setTimeout(begin, 0));
})();
