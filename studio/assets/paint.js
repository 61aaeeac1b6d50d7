// Painting over an image: a mask (white is what changes) or a sketch in colours. Brush and eraser, undo and redo, zoom and
// pan, by mouse, pen, fingers or keys. The value is the name of the kept mask, or of the kept layer of paint.
(() => {
  const easel = (window.easel = window.easel || {});
  const MOST_SIDE = 2048;   // px that are painted on; the studio brings the layer to the image's own size
  const MOST_UNDO = 40;
  const REST = 700;         // ms after a stroke until it is handed in
  const MASK_COLOUR = "#00b7ff";

  easel.paint = ({ element, props, watch, trigger }, { label, kind, over }) => {
    const mask = kind === "mask";
    const button = (text, label, act, more = {}) => easel.make("button", { type: "button", class: "mini", "aria-label": label, title: label, onclick: act, ...more }, text);
    const sheet = easel.make("div", { class: "paint-sheet" });
    const image = easel.make("img", { alt: "", draggable: "false" });
    const canvas = easel.make("canvas", { class: mask ? "paint-mask" : "paint-colour" });
    const ring = easel.make("i", { class: "paint-ring", hidden: true });
    sheet.append(image, canvas);
    const view = easel.make("div", {
      class: "paint-view", tabindex: "0", role: "application",
      "aria-label": `${label}. Arrow keys move the brush, Space paints, E erases, [ and ] change the size, Control Z undoes, plus and minus zoom.`,
    }, sheet, ring);
    const size = easel.make("input", { type: "range", min: "1", max: "100", value: "12", "aria-label": "Brush size" });
    const colour = easel.make("input", { type: "color", value: "#d4483b", "aria-label": "Colour", title: "Colour" });
    const file = easel.make("input", { type: "file", accept: "image/*", hidden: true, tabindex: "-1", "aria-label": "Mask file" });
    const brush = button("Brush", "Brush (B)", () => choose("brush"));
    const eraser = button("Eraser", "Eraser (E)", () => choose("eraser"));
    const hand = button("Move", "Move the image (H)", () => choose("hand"));
    const undoes = button("↶", "Undo (Ctrl+Z)", () => step(undone, redone));
    const redoes = button("↷", "Redo (Ctrl+Shift+Z)", () => step(redone, undone));
    const wider = button("⤢", "Larger", () => widen(!root.classList.contains("wide")), { class: "mini paint-wider" });
    const status = easel.make("span", { class: "paint-status", role: "status" });
    const bar = easel.make("div", { class: "paint-bar", role: "toolbar", "aria-label": label },
      brush, eraser, size, ...(mask ? [] : [colour]), undoes, redoes,
      button("Clear", "Clear everything", () => whole((context) => context.clearRect(0, 0, canvas.width, canvas.height))),
      ...(mask ? [button("Invert", "Invert the mask", invert), button("Load", "Load a mask from a file", () => file.click())] : []),
      hand, button("−", "Zoom out", () => zoom(1 / 1.4)), button("Fit", "Show the whole image", fit), button("+", "Zoom in", () => zoom(1.4)), wider, status);
    const root = easel.make("div", { class: "paint", role: "group", "aria-label": label }, bar, view, file);
    element.replaceChildren(root);

    const context = canvas.getContext("2d", { willReadFrequently: true });
    const before = document.createElement("canvas");
    const undone = [], redone = [];
    let tool = "brush", scale = 1, x = 0, y = 0, base = 1, ready = false, source = "", saved = "", timer = 0, dirty = false;
    let stroke = null, key = null;
    const fingers = new Map();

    // The image below, and the layer at its size.
    const below = (hash) => {
      if (hash === source) return;
      source = hash;
      ready = false;
      root.classList.toggle("paint-idle", !hash);
      if (!hash) return;
      image.onload = () => {
        const shrink = Math.min(1, MOST_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
        canvas.width = before.width = Math.max(1, Math.round(image.naturalWidth * shrink));
        canvas.height = before.height = Math.max(1, Math.round(image.naturalHeight * shrink));
        undone.length = redone.length = 0;
        ready = true;
        saved = "";
        fit();
        restore();
        marks();
      };
      image.src = easel.address(hash);
    };
    const restore = () => {
      const wanted = String(props.value || "");
      if (!ready || wanted === saved) return;
      saved = wanted;
      if (!wanted) { context.clearRect(0, 0, canvas.width, canvas.height); undone.length = redone.length = 0; marks(); return; }
      layer(easel.address(wanted)).then((image) => { if (saved === wanted) { stamp(image); marks(); } }, () => hand_in(""));
    };
    const layer = (address) => new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = reject;
      image.src = address;
    });
    const stamp = (image) => {
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      if (!mask) return;
      const data = context.getImageData(0, 0, canvas.width, canvas.height);
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(MASK_COLOUR.slice(at, at + 2), 16));
      for (let at = 0; at < data.data.length; at += 4) {
        const light = (data.data[at] * 299 + data.data[at + 1] * 587 + data.data[at + 2] * 114) / 1000;
        const cover = Math.round(light * data.data[at + 3] / 255);
        data.data.set([red, green, blue, cover], at);
      }
      context.putImageData(data, 0, 0);
    };

    // Strokes.
    const radius = () => Math.max(0.5, (Number(size.value) / 100) ** 1.5 * Math.max(canvas.width, canvas.height) / 4);
    const dab = (from, to) => {
      context.save();
      context.lineCap = context.lineJoin = "round";
      context.lineWidth = 2 * radius();
      context.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
      context.strokeStyle = mask ? MASK_COLOUR : colour.value;
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineTo(to.x + 0.01, to.y);
      context.stroke();
      context.restore();
    };
    const begin = (at) => {
      before.getContext("2d").clearRect(0, 0, before.width, before.height);
      before.getContext("2d").drawImage(canvas, 0, 0);
      stroke = { last: at, left: at.x, right: at.x, top: at.y, bottom: at.y };
      dab(at, at);
    };
    const extend = (at) => {
      dab(stroke.last, at);
      Object.assign(stroke, { last: at, left: Math.min(stroke.left, at.x), right: Math.max(stroke.right, at.x), top: Math.min(stroke.top, at.y), bottom: Math.max(stroke.bottom, at.y) });
    };
    const end = (kept = true) => {
      if (!stroke) return;
      const room = radius() + 2;
      const left = Math.max(0, Math.floor(stroke.left - room)), top = Math.max(0, Math.floor(stroke.top - room));
      const width = Math.min(canvas.width, Math.ceil(stroke.right + room)) - left, height = Math.min(canvas.height, Math.ceil(stroke.bottom + room)) - top;
      stroke = null;
      if (width <= 0 || height <= 0) return;
      const old = before.getContext("2d").getImageData(left, top, width, height);
      if (kept) note({ left, top, data: old });
      else context.putImageData(old, left, top);
    };
    const note = (patch) => {
      undone.push(patch);
      if (undone.length > MOST_UNDO) undone.shift();
      redone.length = 0;
      changed();
    };
    const whole = (change) => {
      if (!ready) return;
      const data = context.getImageData(0, 0, canvas.width, canvas.height);
      change(context);
      note({ left: 0, top: 0, data });
    };
    function invert() {
      whole(() => {
        context.save();
        context.globalCompositeOperation = "source-out";
        context.fillStyle = MASK_COLOUR;
        context.fillRect(0, 0, canvas.width, canvas.height);
        context.restore();
      });
    }
    const step = (from, to) => {
      const patch = from.pop();
      if (!patch) return;
      to.push({ ...patch, data: context.getImageData(patch.left, patch.top, patch.data.width, patch.data.height) });
      context.putImageData(patch.data, patch.left, patch.top);
      changed();
    };

    // Handing in.
    const changed = () => { dirty = true; marks(); clearTimeout(timer); timer = setTimeout(send, REST); };
    const empty = () => !new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer).some((pixel) => pixel);
    const hand_in = (value) => { saved = value; if ((props.value || "") !== value) { props.value = value; trigger("input"); } };
    const send = () => {
      clearTimeout(timer);
      if (!dirty || !ready) return;
      dirty = false;
      if (empty()) { hand_in(""); return; }
      const owner = source;
      const out = easel.make("canvas", { width: canvas.width, height: canvas.height });
      const on = out.getContext("2d");
      on.drawImage(canvas, 0, 0);
      if (mask) {
        for (const [mode, shade] of [["source-in", "#fff"], ["destination-over", "#000"]]) {
          on.globalCompositeOperation = mode;
          on.fillStyle = shade;
          on.fillRect(0, 0, out.width, out.height);
        }
      }
      easel.pending(new Promise((resolve) => out.toBlob(resolve, "image/png"))
        .then((blob) => easel.keep(blob, `?${mask ? "mask_of" : "paint_on"}=${owner}`))
        .then((kept) => { if (source === owner && !dirty) hand_in(kept.hash); }, (error) => easel.refuse(error.message, error.hint)));
    };
    easel.flush.set(root, send);
    document.addEventListener("visibilitychange", () => root.isConnected && send());

    // Where things are: `x`, `y`, `scale` place the sheet in the view, in CSS px.
    const place = () => { sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; ringed(); };
    function fit() {
      if (!ready || !view.clientWidth) return;
      sheet.style.width = `${canvas.width}px`;
      sheet.style.height = `${canvas.height}px`;
      base = scale = Math.min(view.clientWidth / canvas.width, view.clientHeight / canvas.height);
      x = (view.clientWidth - canvas.width * scale) / 2;
      y = (view.clientHeight - canvas.height * scale) / 2;
      place();
    }
    const zoom = (factor, at) => {
      const middle = at || { x: view.clientWidth / 2, y: view.clientHeight / 2 };
      const next = Math.min(Math.max(scale * factor, base / 2), Math.max(base * 24, 4));
      x = middle.x - (middle.x - x) * next / scale;
      y = middle.y - (middle.y - y) * next / scale;
      scale = next;
      place();
    };
    const local = (event) => { const box = view.getBoundingClientRect(); return { x: event.clientX - box.left - view.clientLeft, y: event.clientY - box.top - view.clientTop }; };
    const inside = (point) => ({ x: (point.x - x) / scale, y: (point.y - y) / scale });
    const ringed = (at) => {
      const point = at || (key && { ...key });
      ring.hidden = !point || tool === "hand" || !ready;
      if (ring.hidden) return;
      const across = Math.max(4, 2 * radius() * scale);
      ring.style.cssText = `left:${x + point.x * scale}px;top:${y + point.y * scale}px;width:${across}px;height:${across}px`;
    };
    const widen = (on) => {
      root.classList.toggle("wide", on);
      wider.textContent = on ? "Done" : "⤢";
      requestAnimationFrame(fit);
      view.focus();
    };
    const choose = (wanted) => { tool = wanted; key = wanted === "hand" ? null : key; marks(); };
    const marks = () => {
      for (const [one, name] of [[brush, "brush"], [eraser, "eraser"], [hand, "hand"]]) one.setAttribute("aria-pressed", String(tool === name));
      undoes.disabled = !undone.length;
      redoes.disabled = !redone.length;
      root.dataset.tool = tool;
    };

    view.addEventListener("pointerdown", (event) => {
      if (!ready || event.button > 1) return;
      view.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, local(event));
      if (fingers.size > 1) end(false);
      else if (tool !== "hand" && event.button === 0) { key = null; begin(inside(local(event))); }
    });
    view.addEventListener("pointermove", (event) => {
      const at = local(event);
      if (event.pointerType !== "touch") ringed(inside(at));
      const old = fingers.get(event.pointerId);
      if (!old) return;
      if (fingers.size > 1) {
        const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
        const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
        x += (at.x - old.x) / 2;
        y += (at.y - old.y) / 2;
        zoom(apart(at) / apart(old), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
      } else if (stroke) (event.getCoalescedEvents?.() || []).concat(event).forEach((one) => extend(inside(local(one))));
      else { x += at.x - old.x; y += at.y - old.y; place(); }
      fingers.set(event.pointerId, at);
    });
    const lift = (event) => { fingers.delete(event.pointerId); end(); };
    view.addEventListener("pointerup", lift);
    view.addEventListener("pointercancel", lift);
    view.addEventListener("pointerleave", () => { if (!stroke) ringed(null); });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && !root.classList.contains("wide")) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), local(event));
    }, { passive: false });
    view.addEventListener("keydown", (event) => { if (ready && keys(event)) { event.preventDefault(); event.stopPropagation(); } });
    const keys = (event) => {
      const command = event.ctrlKey || event.metaKey;
      const pressed = event.key.toLowerCase();
      if (command && pressed === "z") return step(...(event.shiftKey ? [redone, undone] : [undone, redone])), true;
      if (command && pressed === "y") return step(redone, undone), true;
      if (command || event.altKey) return false;
      if (pressed === "escape" && root.classList.contains("wide")) return widen(false), true;
      const acts = { b: () => choose("brush"), e: () => choose("eraser"), h: () => choose("hand"), "[": () => resize(-3), "]": () => resize(3), "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: fit };
      if (acts[pressed]) return acts[pressed](), true;
      const way = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[pressed];
      if (way || pressed === " ") return walk(way || [0, 0], event.shiftKey, pressed === " "), true;
      return false;
    };
    const resize = (by) => { size.value = String(Number(size.value) + by); ringed(key); };
    const walk = (way, far, paints) => {
      const from = key || { x: canvas.width / 2, y: canvas.height / 2 };
      const pace = Math.max(2, radius()) * (far ? 4 : 1);
      key = { x: Math.min(canvas.width, Math.max(0, from.x + way[0] * pace)), y: Math.min(canvas.height, Math.max(0, from.y + way[1] * pace)) };
      if (tool === "hand") choose("brush");
      if (paints) { begin(key); end(); }
      ringed();
      status.textContent = paints ? `Painted at ${Math.round(100 * key.x / canvas.width)} %, ${Math.round(100 * key.y / canvas.height)} %` : "";
    };
    size.addEventListener("input", () => ringed(key || inside({ x: view.clientWidth / 2, y: view.clientHeight / 2 })));
    file.addEventListener("change", async () => {
      const chosen = file.files[0];
      file.value = "";
      if (!chosen || !ready) return;
      try {
        const kept = await easel.keep(chosen, `?mask_of=${source}`);
        const image = await layer(easel.address(kept.hash));
        whole(() => stamp(image));
      } catch (error) {
        easel.refuse(error.message || "The mask cannot be read.", error.hint);
      }
    });
    new ResizeObserver(fit).observe(view);
    watch("value", restore);
    easel.follow(over, root, below);
    marks();
  };

  // The canvas as outpainting will make it: the image, and around it what is to be drawn.
  easel.plan = ({ element, props, watch }, { over }) => {
    const frame = easel.make("div", { class: "plan", role: "img" });
    const text = easel.make("p", { class: "note", role: "status" });
    element.replaceChildren(frame, text);
    const image = easel.make("img", { alt: "", draggable: "false" });
    const draw = () => {
      const wide = image.naturalWidth, high = image.naturalHeight;
      frame.hidden = text.hidden = !wide || !image.getAttribute("src");
      if (frame.hidden) return;
      const { left, top, right, bottom } = sides(JSON.parse(props.value || "{}"), wide, high);
      const width = left + wide + right, height = top + high + bottom;
      frame.style.aspectRatio = `${width} / ${height}`;
      frame.style.setProperty("--shape", String(width / height));
      image.style.cssText = `left:${100 * left / width}%;top:${100 * top / height}%;width:${100 * wide / width}%;height:${100 * high / height}%`;
      text.textContent = `${wide} × ${high} grows to ${width} × ${height} px: left ${left}, top ${top}, right ${right}, bottom ${bottom}.`;
      frame.setAttribute("aria-label", text.textContent);
    };
    const sides = (wish, wide, high) => {
      const given = Object.fromEntries(["left", "top", "right", "bottom"].map((side) => [side, Math.max(0, Math.round(Number(wish[side]) || 0))]));
      const ratio = /^([\d.]+)[:/]([\d.]+)$/.exec(wish.aspect || "");
      let width = 0, height = 0;
      if (wish.how === "size") [width, height] = [Number(wish.width) || 0, Number(wish.height) || 0];
      else if (wish.how === "aspect" && ratio) {
        const shape = Number(ratio[1]) / Number(ratio[2]);
        if (shape > 0) [width, height] = [Math.round(high * shape), Math.round(wide / shape)];
      } else if (wish.how === "sides") return given;
      const across = Math.max(0, width - wide), down = Math.max(0, height - high);
      return { left: across >> 1, right: across - (across >> 1), top: down >> 1, bottom: down - (down >> 1) };
    };
    image.addEventListener("load", draw);
    frame.append(image);
    watch("value", draw);
    easel.follow(over, frame, (hash) => { if (hash) image.src = easel.address(hash); else { image.removeAttribute("src"); draw(); } });
    draw();
  };
})();
