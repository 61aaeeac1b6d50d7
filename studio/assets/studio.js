// What the page does without asking the server: keys, examples, the picture strip, recipes, light and dark.
(() => {
  const easel = (window.easel = window.easel || {});
  const find = (selector, root = document) => root.querySelector(selector);
  const stage = () => find("#stage .stage");
  const current = () => find('#stage .frame[aria-pressed="true"]') || find("#stage .frame");

  easel.restored = false;
  easel.seed = () => (current() ? Number(current().dataset.seed) : null);
  easel.selected = () => (current() ? current().dataset.id : "");
  // The form as the browser keeps it; until the page has put back the old one, the old one stays.
  easel.remember = (names, values) => {
    const kept = values[names.length];
    return easel.restored ? Object.fromEntries(names.map((name, index) => [name, values[index]])) : kept;
  };

  const type = (box, text) => {
    const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value").set;
    setter.call(box, text);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const show = (frame) => {
    document.querySelectorAll("#stage .frame").forEach((other) => other.setAttribute("aria-pressed", String(other === frame)));
    const data = frame.dataset;
    const canvas = find("#stage .canvas");
    let picture = find("img.shown", canvas);
    if (!picture) return;
    picture.src = data.src;
    picture.alt = data.alt;
    picture.width = data.width;
    picture.height = data.height;
    const recipe = find("#stage .recipe");
    if (!recipe) return;
    find('[data-fact="size"]', recipe).textContent = `${data.width} × ${data.height}`;
    find('[data-fact="seed"]', recipe).textContent = `Seed ${data.seed}`;
    const link = find('[data-act="download"]', recipe);
    link.href = data.src;
    link.download = data.name;
    view(recipe, find('.segment[aria-pressed="true"]', recipe).dataset.view);
  };

  const view = (recipe, name) => {
    recipe.querySelectorAll(".segment").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.view === name)));
    find("[data-text]", recipe).textContent = current() ? current().dataset[name] : "";
  };

  const copy = async (button) => {
    const text = find("#stage [data-text]").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 1500);
  };

  const enlarge = (picture) => {
    const dialog = document.createElement("dialog");
    dialog.className = "lightbox";
    dialog.setAttribute("aria-label", picture.alt);
    const large = document.createElement("img");
    large.src = picture.src;
    large.alt = picture.alt;
    dialog.append(large);
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => { dialog.remove(); picture.focus(); });
    document.body.append(dialog);
    dialog.showModal();
  };

  document.addEventListener("click", (event) => {
    const target = event.target;
    const chip = target.closest(".chip");
    const frame = target.closest("#stage .frame");
    const segment = target.closest("#stage .segment");
    const act = target.closest('#stage [data-act="copy"]');
    if (chip) {
      type(find("#prompt textarea"), chip.dataset.prompt);
      find("#prompt textarea").focus();
    } else if (frame) show(frame);
    else if (segment) view(segment.closest(".recipe"), segment.dataset.view);
    else if (act) copy(act);
    else if (target.matches("#stage img.shown:not(.forming)")) enlarge(target);
    else if (target.closest("#look")) look(document.body.classList.contains("dark") ? "light" : "dark", true);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const generate = find("#generate");
      if (generate && !generate.disabled && generate.offsetParent) {
        event.preventDefault();
        document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
        generate.click();
      }
    } else if (event.key === "Escape" && !find("dialog[open]") && !find("ul[role=listbox]")) {
      const stop = find("#stop");
      if (stop && !stop.disabled && stage()?.dataset.status === "running") stop.click();
    } else if (event.key === "Enter" && event.target.matches?.("#stage img.shown:not(.forming)")) enlarge(event.target);
    else if (["ArrowLeft", "ArrowRight"].includes(event.key) && event.target.matches?.("#stage .frame")) {
      const next = event.key === "ArrowRight" ? event.target.nextElementSibling : event.target.previousElementSibling;
      if (next) { next.focus(); show(next); }
    }
  });

  const look = (wanted, keep) => {
    const dark = wanted === "dark" || (wanted === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.body.classList.toggle("dark", dark);
    if (keep) try { localStorage.setItem("easel-look", wanted); } catch { /* private mode */ }
  };
  // Gradio's buttons take no label of their own for those who cannot see the sign.
  const names = { swap: "Swap width and height", "seed-random": "Draw a new seed each time", "seed-reuse": "Use the shown picture's seed" };
  const label = (tries) => {
    const open = Object.entries(names).filter(([id, text]) => {
      const button = document.getElementById(id);
      if (button) { button.setAttribute("aria-label", text); button.title = text; }
      return !button;
    });
    if (open.length && tries) setTimeout(label, 250, tries - 1);
  };
  const begin = () => {
    label(80);
    let wanted = window.easelLook || "system";
    try { wanted = localStorage.getItem("easel-look") || wanted; } catch { /* private mode */ }
    look(wanted, false);
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
  window.addEventListener("load", () => setTimeout(begin, 0));
})();
