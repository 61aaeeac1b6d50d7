// The Social Optimizer: a list of formats to choose from, and a board that shows each chosen one as the crop that it will be. Crops are drawn here,
// from one small image and a rectangle, so that dragging needs no answer from the studio; what a crop keeps and loses is the studio's word.
(() => {
  const easel = (window.easel = window.easel || {});
  const { make } = easel;
  const PAUSE = 300;       // ms of quiet before the studio is asked
  const HIGHEST = 300;     // px of a card's image
  const LEAST = 0.08;      // of the image: a crop is not made smaller
  const PLAIN = { text: "", font: "", size: 0.07, margin: 0.05, colour: "#ffffff", stroke: "#000000", anchor: "bottom" };  // the words over an image
  const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
  const parsed = (text) => { try { return JSON.parse(text) || {}; } catch { return {}; } };
  const told = async (address, options) => {
    const answer = await fetch(address, options).catch(() => { throw Object.assign(new Error("The studio did not answer."), { hint: "Check that it still runs, then try again." }); });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw Object.assign(new Error(body.error || "That was not possible."), { hint: body.details?.hint || body.hint || "" });
    return body;
  };
  const posted = (address, body) => told(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

  // What list and board share: the platforms' data, the chosen formats, and the options of the form.
  const shared = { platforms: [], formats: new Map(), chosen: [], options: {} };
  const listeners = new Map();
  const changed = () => listeners.forEach((act, node) => (node.isConnected ? act() : listeners.delete(node)));
  const take = (data) => {
    shared.data = data;
    shared.platforms = data.platforms;
    shared.formats = new Map(data.platforms.flatMap((platform) => platform.formats.map((one) => [one.id, { ...one, platform: platform.title }])));
  };
  let asked = null;
  const known = () => (asked = asked || told("page/social/formats").then(take, (error) => { asked = null; throw error; }));
  easel.socialOptions = (options) => { shared.options = options; changed(); };
  const kilo = (bytes) => (bytes >= 1e6 ? `${(bytes / 1e6).toFixed(bytes % 1e6 ? 1 : 0)} MB` : `${Math.round(bytes / 1000)} kB`);

  // The list of formats. Its value is the chosen ids with spaces between.
  easel.formats = ({ element, props, watch }) => {
    const search = make("input", { type: "search", class: "formats-search", placeholder: "Find a format: story, banner, 1080 …", "aria-label": "Find a format" });
    const count = make("span", { class: "formats-count", role: "status" });
    const none = make("button", { type: "button", class: "mini", onclick: () => put([]) }, "None");
    const all = make("button", { type: "button", class: "mini", onclick: () => put([...shared.formats.keys()]) }, "All");
    const groups = make("div", { class: "formats-groups" });
    const foot = make("div", { class: "formats-foot" });
    const root = make("div", { class: "formats", role: "group", "aria-label": "Formats" }, make("div", { class: "formats-head" }, search, count, all, none), groups, foot);
    element.replaceChildren(root);
    const value = () => String(props.value || "").split(" ").filter(Boolean);
    const put = (ids) => { props.value = ids.join(" "); show(); };
    const toggle = (ids, on) => {
      const now = new Set(value());
      ids.forEach((id) => (on ? now.add(id) : now.delete(id)));
      put([...shared.formats.keys()].filter((id) => now.has(id)));
    };
    const box = (one) => make("label", { class: "format", title: `${one.sure}${one.sources ? `. ${one.sources}` : ""}` },
      make("input", { type: "checkbox", value: one.id, onchange: (event) => toggle([one.id], event.target.checked) }),
      make("span", {}, one.name), make("small", {}, `${one.width} × ${one.height}${one.limit ? ` · ≤ ${kilo(one.limit)}` : ""}${one.published ? "" : " · not published"}`),
      ...(one.deletable ? [make("button", { type: "button", class: "mini", "aria-label": `Delete ${one.name}`, onclick: (event) => { event.preventDefault(); drop(one.id); } }, "×")] : []));
    const group = (platform) => make("details", { class: "formats-group", "data-platform": platform.id },
      make("summary", {}, make("strong", {}, platform.title), make("span", { class: "formats-some" }), make("button", {
        type: "button", class: "mini", "aria-label": `All of ${platform.title}`,
        onclick: (event) => { event.preventDefault(); const ids = platform.formats.map((one) => one.id); toggle(ids, !ids.every((id) => value().includes(id))); },
      }, "All")),
      make("div", { class: "formats-list" }, ...platform.formats.map(box)));
    const build = () => {
      groups.replaceChildren(...shared.platforms.map(group));
      shareLabel.hidden = !shared.data.may_share;
      const broken = shared.data.problems.map((problem) => make("p", { class: "note note-bad" }, problem));
      foot.replaceChildren(...broken, make("p", { class: "note" }, `${shared.formats.size} formats, figures of ${shared.data.as_of}. Point at one for its source.`));
      show();
    };
    const show = () => {
      if (!shared.data) return;
      shared.chosen = value().filter((id) => shared.formats.has(id));
      if (shared.chosen.length < value().length) props.value = shared.chosen.join(" ");  // a format that is gone
      const now = new Set(shared.chosen);
      groups.querySelectorAll("input[type=checkbox]").forEach((one) => { one.checked = now.has(one.value); });
      root.querySelectorAll(".formats-group").forEach((one) => {
        const some = one.querySelectorAll("input:checked").length;
        one.querySelector(".formats-some").textContent = some ? `${some} of ${one.querySelectorAll("input").length}` : "";
      });
      count.textContent = `${now.size} chosen`;
      changed();
    };
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      root.querySelectorAll(".formats-group").forEach((one) => {
        const title = one.querySelector("strong").textContent.toLowerCase();
        let some = false;
        one.querySelectorAll(".format").forEach((row) => {
          const text = `${title} ${row.textContent.toLowerCase()}`;
          row.hidden = !words.every((word) => text.includes(word));
          some = some || !row.hidden;
        });
        one.hidden = !some;
        if (words.length) one.open = some;
      });
    });
    const drop = async (id) => {
      try { take(await told(`page/social/formats/${encodeURIComponent(id)}`, { method: "DELETE" })); build(); } catch (error) { easel.refuse(error.message, error.hint); }
    };
    // The form for a format of one's own.
    const field = (label, more) => { const input = make("input", more); return [input, make("label", {}, label, input)]; };
    const [name, nameLabel] = field("Name", { type: "text", maxlength: "60" });
    const [width, widthLabel] = field("Width", { type: "number", min: "16", max: "8192", value: "1200" });
    const [height, heightLabel] = field("Height", { type: "number", min: "16", max: "8192", value: "900" });
    const [limit, limitLabel] = field("At most, kB", { type: "number", min: "1", placeholder: "no limit" });
    const [share, shareLabel] = field("For all users", { type: "checkbox" });
    shareLabel.hidden = true;
    const save = make("button", { type: "button", class: "mini", onclick: async () => {
      try {
        const made = await posted("page/social/formats", { name: name.value, width: Math.round(Number(width.value)), height: Math.round(Number(height.value)), limit: limit.value ? Math.round(Number(limit.value) * 1000) : null, shared: share.checked });
        take(made);
        build();
        toggle([made.id], true);
        root.querySelector('[data-platform="own"]').open = true;
      } catch (error) { easel.refuse(error.message, error.hint); }
    } }, "Save format");
    root.append(make("details", { class: "formats-own" }, make("summary", {}, "A format of your own"), make("div", { class: "formats-form" }, nameLabel, widthLabel, heightLabel, limitLabel, shareLabel, save)));
    watch("value", show);
    known().then(build, (error) => easel.refuse(error.message, error.hint));
  };

  // The board. Its value is JSON: {crops: {image: {format: [left, top, right, bottom]}}, focus: {image: box}, view: {zones, frame}}.
  easel.board = ({ element, props, watch }, { over }) => {
    let state = parsed(props.value), hash = "", images = [], size = null, timer = 0, turn = 0, marking = null;
    const found = new Map();  // what the studio said of a crop, by everything that it depends on
    const cards = new Map();
    const own = (id) => state.crops?.[hash]?.[id];
    const focus = () => state.focus?.[hash] || null;
    const address = (name) => `page/social/look/${name}`;
    const key = (id) => JSON.stringify([hash, id, focus(), shared.options.same, own(id) || null]);
    const save = () => { props.value = JSON.stringify(state); };

    const strip = make("div", { class: "board-strip", role: "group", "aria-label": "Images" });
    const source = make("img", { alt: "The image", draggable: "false" });
    const mark = make("i", { class: "focus-box", hidden: true });
    const sheet = make("div", { class: "focus-sheet", tabindex: "0", role: "application", "aria-label": "What matters: drag a box around it, or click on it." }, source, mark);
    const clear = make("button", { type: "button", class: "mini", onclick: () => focused(null) }, "Forget the mark");
    const view = (name, label) => make("button", { type: "button", class: "mini", "data-view": name, "aria-pressed": "false", onclick: (event) => {
      const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
      state.view = { ...state.view, [name]: on };
      save();
      draw();
    } }, label);
    const reset = make("button", { type: "button", class: "mini", onclick: () => { if (state.crops) delete state.crops[hash]; save(); draw(); } }, "Reset crops");
    const summary = make("span", { class: "board-summary", role: "status" });
    const tools = make("div", { class: "board-tools" }, summary, view("zones", "Safe zones"), view("frame", "On the screen"), reset);
    const grid = make("div", { class: "cards" });
    const hint = make("p", { class: "board-empty" });
    const root = make("div", { class: "board" }, strip,
      make("div", { class: "board-source" }, sheet, make("div", {}, make("strong", {}, "What matters"), make("p", { class: "note" }, "Drag a box around it, or click on it, and every crop keeps it. Without a mark the studio looks for faces, subject and text."), clear)),
      tools, hint, grid);
    element.replaceChildren(root);

    const focused = (box) => {
      state.focus = { ...state.focus };
      if (box) state.focus[hash] = box.map((side) => Number(side.toFixed(4)));
      else delete state.focus[hash];
      save();
      draw();
    };
    const at = (event) => {
      const frame = sheet.getBoundingClientRect();
      return [clamp((event.clientX - frame.left) / frame.width, 0, 1), clamp((event.clientY - frame.top) / frame.height, 0, 1)];
    };
    const spanned = ([x0, y0], [x1, y1]) => {
      if (Math.abs(x1 - x0) < 0.02 && Math.abs(y1 - y0) < 0.02) return [clamp(x0 - 0.06, 0, 0.88), clamp(y0 - 0.06, 0, 0.88), clamp(x0 + 0.06, 0.12, 1), clamp(y0 + 0.06, 0.12, 1)];
      return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1, Math.min(x0, x1) + 0.01), Math.max(y0, y1, Math.min(y0, y1) + 0.01)].map((side) => clamp(side, 0, 1));
    };
    const place = (box) => {
      mark.hidden = !box;
      if (box) mark.style.cssText = `left:${100 * box[0]}%;top:${100 * box[1]}%;width:${100 * (box[2] - box[0])}%;height:${100 * (box[3] - box[1])}%`;
    };
    sheet.addEventListener("pointerdown", (event) => { if (!hash) return; event.preventDefault(); marking = at(event); sheet.setPointerCapture(event.pointerId); });
    sheet.addEventListener("pointermove", (event) => { if (marking) place(spanned(marking, at(event))); });
    sheet.addEventListener("pointerup", (event) => { if (!marking) return; const box = spanned(marking, at(event)); marking = null; focused(box); });
    sheet.addEventListener("pointercancel", () => { marking = null; place(focus()); });
    sheet.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step || !hash) return;
      event.preventDefault();
      const box = focus() || [0.44, 0.44, 0.56, 0.56];
      const [dx, dy] = [clamp(step[0] * 0.02, -box[0], 1 - box[2]), clamp(step[1] * 0.02, -box[1], 1 - box[3])];
      focused([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]);
    });

    // One card: a format as its crop.
    const card = (of) => {
      const inner = make("img", { alt: "", draggable: "false" });
      const ground = make("div", { class: "crop-ground", "aria-hidden": "true" });
      const zones = make("div", { class: "crop-zones", "aria-hidden": "true" });
      zones.innerHTML = of.zones;  // made by the studio of its data, labels escaped
      const words = make("div", { class: "crop-words", "aria-hidden": "true" });
      const crop = make("div", { class: "crop", tabindex: "0", role: "application", "aria-label": `${of.platform}, ${of.name}. Drag or use the arrow keys to move the crop, plus and minus to change how much it shows.` }, ground, inner, words, zones);
      const device = make("div", { class: "device" }, crop);
      const said = make("p", { class: "card-said" });
      const button = (text, label, act) => make("button", { type: "button", class: "mini", "aria-label": `${label}: ${of.name}`, title: label, onclick: act }, text);
      const node = {
        of, inner, crop, device, said, words, ground, zones, box: null,
        keep: button("Keep this crop", "Keep this crop", () => { if (node.box) moved(node, node.box); }),
        back: button("Reset", "Back to the crop that was found", () => { delete state.crops[hash][of.id]; save(); draw(); }),
        extend: button("Extend …", "Keep the whole image, with something around it", () => { const choice = document.querySelector("#social-extend input"); choice?.scrollIntoView({ block: "center" }); choice?.focus(); }),
        smaller: button("+", "Show less", () => zoom(node, 1 / 1.15)),
        larger: button("−", "Show more", () => zoom(node, 1.15)),
      };
      node.root = make("article", { class: "card", "data-format": of.id }, device,
        make("h4", {}, make("span", {}, of.platform), ` ${of.name}`), make("p", { class: "card-size" }, `${of.width} × ${of.height} ${of.type}`), said,
        make("div", { class: "card-tools" }, node.keep, node.extend, node.back, node.larger, node.smaller));
      draggable(node);
      return node;
    };
    const moved = (node, box) => {
      state.crops = { ...state.crops, [hash]: { ...state.crops?.[hash], [node.of.id]: box.map((side) => Number(side.toFixed(5))) } };
      node.box = box;
      save();
      paint(node);
      ask();
    };
    const shifted = (box, dx, dy) => {
      const [x, y] = [clamp(dx, -box[0], 1 - box[2]), clamp(dy, -box[1], 1 - box[3])];
      return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
    };
    const zoom = (node, by) => {
      if (!node.box || !size) return;
      const [wide, high] = [node.box[2] - node.box[0], node.box[3] - node.box[1]];
      const scale = clamp(by, LEAST / Math.min(wide, high), Math.min(1 / wide, 1 / high));
      const [w, h] = [Math.min(1, wide * scale), Math.min(1, high * scale)];
      const left = clamp((node.box[0] + node.box[2] - w) / 2, 0, 1 - w);
      const top = clamp((node.box[1] + node.box[3] - h) / 2, 0, 1 - h);
      moved(node, [left, top, Math.min(1, left + w), Math.min(1, top + h)]);
    };
    const draggable = (node) => {
      let from = null;
      const { crop } = node;
      crop.addEventListener("pointerdown", (event) => {
        if (!node.box || event.button) return;
        crop.setPointerCapture(event.pointerId);
        from = { x: event.clientX, y: event.clientY, box: node.box, moved: false };
      });
      crop.addEventListener("pointermove", (event) => {
        if (!from) return;
        const frame = crop.getBoundingClientRect();
        const [dx, dy] = [(event.clientX - from.x) / frame.width, (event.clientY - from.y) / frame.height];
        if (!from.moved && Math.hypot(event.clientX - from.x, event.clientY - from.y) < 3) return;
        from.moved = true;
        node.box = shifted(from.box, -dx * (from.box[2] - from.box[0]), -dy * (from.box[3] - from.box[1]));
        node.filled = false;
        arrange(node);
      });
      const end = () => { if (from?.moved) moved(node, node.box); from = null; };
      crop.addEventListener("pointerup", end);
      crop.addEventListener("pointercancel", end);
      crop.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!node.box || (!step && !["+", "-", "="].includes(event.key))) return;
        event.preventDefault();
        if (!step) { zoom(node, event.key === "-" ? 1.1 : 1 / 1.1); return; }
        const far = event.shiftKey ? 0.1 : 0.02;
        moved(node, shifted(node.box, step[0] * far, step[1] * far));
      });
    };

    // Where the image lies in its card: the crop fills it, or the whole image stands in it with something around.
    const arrange = (node) => {
      const { of, inner, box } = node;
      const [wide, high] = node.filled ? fitted(of) : [1 / (box[2] - box[0]), 1 / (box[3] - box[1])];
      const left = node.filled ? clamp((of.safe[0] + of.safe[2]) / 2 - wide / 2, 0, 1 - wide) : -box[0] * wide;
      const top = node.filled ? clamp((of.safe[1] + of.safe[3]) / 2 - high / 2, 0, 1 - high) : -box[1] * high;
      inner.style.cssText = `left:${100 * left}%;top:${100 * top}%;width:${100 * wide}%;height:${100 * high}%`;
      node.root.dataset.box = box.map((side) => side.toFixed(3)).join(" ");
      node.crop.dataset.slides = box[3] - box[1] > 0.999 ? "x" : "y";
      surround(node, left, top, wide, high);
    };
    const fitted = (of) => {
      const scale = Math.min(of.width / size[0], of.height / size[1]);
      return [(size[0] * scale) / of.width, (size[1] * scale) / of.height];
    };
    const surround = (node, left, top, wide, high) => {
      const how = node.filled ? shared.options.extend : "";
      node.ground.dataset.how = how;
      node.ground.style.background = how === "colour" ? shared.options.border : "";
      const copies = [];
      if (how === "blur") copies.push(make("img", { src: inner(node), alt: "", class: "blurred" }));
      if (how === "mirror") {
        const across = wide < 0.999;
        for (const step of [-1, 1, -2, 2, -3, 3, -4, 4]) {
          const copy = make("img", { src: inner(node), alt: "" });
          const turned = step % 2 ? (across ? "scaleX(-1)" : "scaleY(-1)") : "none";
          copy.style.cssText = `left:${100 * (left + (across ? step * wide : 0))}%;top:${100 * (top + (across ? 0 : step * high))}%;width:${100 * wide}%;height:${100 * high}%;transform:${turned}`;
          copies.push(copy);
        }
      }
      node.ground.replaceChildren(...copies);
    };
    const inner = (node) => node.inner.getAttribute("src");

    const EXTENDS = ["blur", "colour", "mirror"];
    const paint = (node) => {
      const { of } = node;
      const advice = found.get(key(of.id));
      const mine = own(of.id);
      if (mine) node.box = mine;
      else if (advice) node.box = advice.box;
      node.root.classList.toggle("card-busy", !node.box);
      if (!node.box || !size) return;
      if (inner(node) !== address(hash)) node.inner.src = address(hash);
      node.filled = !mine && advice?.verdict === "extend" && EXTENDS.includes(shared.options.extend);
      arrange(node);
      const short = advice && advice.faces > advice.whole && advice.faces > 1;
      const asks = !mine && short && !focus() && shared.options.extend === "ask";
      node.root.dataset.verdict = mine ? "own" : node.filled ? "filled" : asks ? "asks" : advice?.verdict || "";
      node.keep.hidden = Boolean(mine) || node.filled || advice?.verdict === "good";
      node.back.hidden = !mine;
      node.extend.hidden = Boolean(mine) || node.filled || advice?.verdict !== "extend";
      const loses = advice?.loses.length ? `Loses ${advice.loses.join(", ")}. ` : "";
      const notes = advice ? advice.notes.join(" ") : "";
      const start = asks ? "Who should be in it? " : mine ? "Your crop. " : "";
      node.said.textContent = node.filled ? "Nothing is lost: the whole image, extended." : `${start}${loses}${notes}` || (advice ? `Keeps ${advice.keeps.join(", ")}.` : "");
      write(node);
    };
    // The text where it will stand, roughly: the studio's own letters are drawn at export.
    const write = (node) => {
      const { text, font, size: high, margin, colour, stroke, anchor } = { ...PLAIN, ...Object.fromEntries(Object.entries(shared.options).filter(([, value]) => value !== null && value === value)) };
      const [left, top, right, bottom] = node.of.safe;
      const shape = node.of.width / node.of.height;
      const across = anchor.includes("left") ? "flex-start" : anchor.includes("right") ? "flex-end" : "center";
      const down = anchor.includes("top") ? "flex-start" : anchor.includes("bottom") ? "flex-end" : "center";
      const room = margin * Math.min((right - left) * shape, bottom - top);
      node.words.style.cssText = `left:${100 * (left + room / shape)}%;right:${100 * (1 - right + room / shape)}%;top:${100 * (top + room)}%;bottom:${100 * (1 - bottom + room)}%;justify-content:${across};align-items:${down};color:${colour};--rim:${stroke};text-align:${{ "flex-start": "left", "flex-end": "right" }[across] || "center"}`;
      node.words.replaceChildren(make("span", {}, text));
      node.words.firstChild.style.cssText = `font-size:${100 * high}cqh;font-family:"${font.replaceAll('"', "")}","DejaVu Sans",sans-serif;font-weight:${/bold/i.test(font) || !font ? 700 : 400}`;
    };
    const frames = (node, on) => {
      const { of, device, crop } = node;
      device.querySelector(".device-frame")?.remove();
      const frame = on ? of.frame : null;
      device.classList.toggle("device-on", Boolean(frame));
      const shape = of.width / of.height;
      crop.style.cssText = `aspect-ratio:${of.width}/${of.height};--highest:${HIGHEST}px;--shape:${shape}`;
      device.style.cssText = "";
      if (!frame) return;
      const above = frame.round ? (frame.slot - frame.slot / shape) / 2 : 0;  // a circle shows the middle
      device.style.cssText = `aspect-ratio:${frame.width}/${frame.height};--shape:${frame.width / frame.height}`;
      crop.style.cssText = `position:absolute;left:${(100 * frame.left) / frame.width}%;top:${(100 * (frame.top + above)) / frame.height}%;width:${(100 * frame.slot) / frame.width}%;aspect-ratio:${of.width}/${of.height};${frame.round ? "clip-path:circle(closest-side);" : ""}`;
      const lines = make("div", { class: "device-frame", "aria-hidden": "true" });
      lines.innerHTML = frame.svg;  // as the zones
      device.append(lines);
    };

    const draw = () => {
      const chosen = hash ? shared.chosen : [];
      const looks = state.view || {};
      root.classList.toggle("board-idle", !hash);
      root.classList.toggle("board-zones", Boolean(looks.zones));
      root.querySelectorAll("[data-view]").forEach((one) => one.setAttribute("aria-pressed", String(Boolean(looks[one.dataset.view]))));
      hint.textContent = !hash ? "Drop an image on the left, choose formats, and every crop is shown here." : chosen.length ? "" : "Choose formats on the left.";
      hint.hidden = !hint.textContent;
      tools.hidden = !chosen.length;
      place(focus());
      clear.hidden = !focus();
      for (const [id, node] of cards) if (!chosen.includes(id)) { node.root.remove(); cards.delete(id); }
      chosen.forEach((id, index) => {
        if (!cards.has(id)) cards.set(id, card(shared.formats.get(id)));
        const node = cards.get(id);
        if (grid.children[index] !== node.root) grid.insertBefore(node.root, grid.children[index] || null);
        if (node.framed !== Boolean(looks.frame)) { node.framed = Boolean(looks.frame); frames(node, node.framed); }
        if (!own(id) && !found.has(key(id))) node.box = node.hash === hash ? node.box : null;
        node.hash = hash;
        paint(node);
      });
      counted();
      ask();
    };
    const counted = () => {
      const asks = grid.querySelectorAll('[data-verdict="asks"]').length;
      const count = grid.children.length;
      summary.textContent = `${count} format${count === 1 ? "" : "s"}${asks ? ` · ${asks} ask${asks === 1 ? "s" : ""} you` : ""}`;
    };
    // Ask the studio for the crops that it has not told yet.
    const ask = () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const missing = hash && size ? shared.chosen.filter((id) => !found.has(key(id))) : [];
        if (!missing.length) return;
        const mine = ++turn, keys = missing.map(key);
        const crops = Object.fromEntries(missing.filter(own).map((id) => [id, own(id)]));
        root.classList.add("board-busy");
        try {
          const answers = await posted("page/social/advice", { picture: hash, formats: missing, focus: focus(), same: Boolean(shared.options.same), crops });
          answers.forEach((answer, index) => found.set(keys[index], answer));
          cards.forEach(paint);
          counted();
        } catch (error) {
          easel.refuse(error.message, error.hint);
        }
        if (mine === turn) root.classList.remove("board-busy");
      }, PAUSE);
    };
    const show = (name) => {
      hash = name || "";
      size = null;
      strip.hidden = images.length < 2;
      strip.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.hash === hash)));
      if (!hash) { source.removeAttribute("src"); draw(); return; }
      source.onload = () => { size = [source.naturalWidth, source.naturalHeight]; draw(); };
      source.src = address(hash);
    };
    const showImages = (names) => {
      images = names;
      strip.replaceChildren(...images.slice(0, 60).map((name, index) => make("button", { type: "button", "data-hash": name, "aria-label": `Image ${index + 1} of ${images.length}`, onclick: () => show(name) }, make("img", { src: address(name), alt: "", loading: "lazy" }))));
      show(images.includes(hash) ? hash : images[0]);
    };
    easel.followAll(over, root, showImages);
    listeners.set(root, draw);
    watch("value", () => { const next = parsed(props.value); if (JSON.stringify(next) !== JSON.stringify(state)) { state = next; draw(); } });
    known().then(draw, () => {});
  };
})();
